"""Everything that touches NeMo and Megatron-Core. Plan, locks and manifests speak in engine-neutral terms."""
