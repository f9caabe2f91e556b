"""Hugging Face <-> NeMo distributed checkpoints.

`mapping` says which tensor is which. `hf_folder` and `hf_writer`, `nemo_checkpoint` and `nemo_writer` read and write
the two formats, one tensor at a time. `import_hf` and `export_hf` carry the tensors over and check them; `commands` is
what the CLI calls.
"""
