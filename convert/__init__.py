"""Hugging Face <-> NeMo distributed checkpoints.

`mapping` says which tensor is which. `hf_folder` and `hf_writer`, `nemo_checkpoint` and `nemo_writer` read and write
the two formats, one tensor at a time; all that can be read is `weights`. `import_hf` and `export_hf` carry tensors over
(`passage`) and check them. `combine` sums models into one, `average` whole checkpoints. `logits` compares what two
models compute, `verify` whether they are the same. `model_card` (without a recipe `known_card`) and `publish` make an
export fit for others; `commands` is what the CLI calls.
"""
