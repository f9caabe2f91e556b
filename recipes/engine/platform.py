"""What this machine lacks: CUDA, Transformer Engine. Two switches, because either may be missing alone."""

import importlib.util


def has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()


def has_transformer_engine() -> bool:
    """True in the NeMo container on a GPU; its layer spec, attention and Adam are used then, and ours are not."""
    return has_cuda() and importlib.util.find_spec("transformer_engine") is not None  # its kernels know no CPU


def prepare() -> None:
    """Put in what is missing here and import NeMo (12 s). Call it before anything else touches NeMo or Megatron."""
    import torch

    from recipes.engine import cpu

    with torch.device("meta"):
        torch.empty(0)  # at the first use torch lists its factories by identity, and `cpu` is about to replace them
    on_cpu = cpu.enable()
    import nemo.collections.llm  # noqa: F401

    if on_cpu:
        cpu.enable_in_nemo()
    from recipes.engine.checkpoint import save_without_manager

    save_without_manager()
    if not has_transformer_engine():
        from recipes.engine import adam, fused

        adam.install()
        fused.install()
