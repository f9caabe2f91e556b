"""Corpus -> clean shards -> phase mixtures (Megatron .bin/.idx). Never imports torch."""
