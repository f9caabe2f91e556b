"""The "no CUDA" switch: lets the unmodified NeMo 2.7.3 and Megatron-Core 0.15.3 run on a CPU over gloo.

Both take CUDA for granted. `enable` answers for it: device names become the CPU, streams and synchronisation become
nothing. It acts only where `torch.cuda.is_available()` is False, and every patch names the upstream line that needs it.
Call it before the first import of Megatron-Core, which copies some of these names when it is imported.
"""

import contextlib
import functools
from collections.abc import Callable
from typing import Any

import torch
import torch._dynamo  # lists torch's functions by identity at import, so it must see the original ones

_FACTORIES = ("arange", "empty", "empty_like", "full", "ones", "ones_like", "tensor", "zeros", "zeros_like")


def enable() -> bool:
    """Switch the compatibility on where there is no CUDA; True if it is on. Calling it again changes nothing."""
    if torch.cuda.is_available():
        return False
    if not getattr(torch.cuda, "_answered_by_cpu", False):
        torch.cuda._answered_by_cpu = True  # type: ignore[attr-defined]
        _answer_for_cuda()
        _redirect_devices()
        _rename_tensor_types()
    return True


def enable_in_nemo() -> None:
    """The patches inside NeMo itself; to be called after it was imported and `enable` returned True."""
    import nemo.lightning.io.pl

    # nemo/lightning/io/pl.py, MegatronCheckpointIO.load_checkpoint: asserts an initialised CUDA.
    nemo.lightning.io.pl._fix_tensors_device = lambda checkpoint: checkpoint


class _Nothing:
    """A stream or event that does nothing, as a value and as a context manager."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args, **kwargs: None

    def __enter__(self) -> "_Nothing":
        return self

    def __exit__(self, *error: Any) -> None:
        pass


def _answer_for_cuda() -> None:
    def nothing(*args: Any, **kwargs: Any) -> None:
        return None

    answers: dict[str, Any] = {
        # megatron/core/tensor_parallel/{layers,mappings}.py, nemo/lightning/megatron_parallel.py: device=
        "current_device": lambda: "cpu",
        # nemo/lightning/pytorch/strategies/utils.py and torch DeviceMesh.from_group(…, "cuda")
        "set_device": nothing,
        # megatron/core/parallel_state.py, dist_checkpointing/strategies/{filesystem_async,fully_parallel}.py
        "synchronize": nothing,
        # nemo/lightning/pytorch/strategies/megatron_strategy.py, load_checkpoint and selective_restore
        "empty_cache": nothing,
        # megatron/core/tensor_parallel/random.py, CudaRNGStatesTracker; nothing here draws from these states:
        # weights are initialised on the CPU (use_cpu_initialization) and Qwen3 has no dropout
        "get_rng_state": lambda *args, **kwargs: torch.get_rng_state(),
        "set_rng_state": nothing,
        "manual_seed": nothing,
        "_lazy_init": nothing,
        "_lazy_call": nothing,
        # nemo/lightning/megatron_parallel.py, init_model_parallel: DDP is built on a side stream
        "Stream": _Nothing,
        "Event": _Nothing,
        "current_stream": _Nothing,
        "default_stream": _Nothing,
        "stream": lambda stream: contextlib.nullcontext(),
        # megatron/core/utils.py and NeMo's memory logging
        "max_memory_allocated": lambda *args: 0,
        "max_memory_reserved": lambda *args: 0,
        "memory_allocated": lambda *args: 0,
    }
    for name, answer in answers.items():
        setattr(torch.cuda, name, answer)
        if hasattr(torch.cuda.random, name):
            setattr(torch.cuda.random, name, answer)


def _redirect_devices() -> None:
    # megatron/core/optimizer/{clip_grads,optimizer,grad_scaler}.py, dist_checkpointing: device="cuda";
    # nemo/lightning/pytorch/strategies/megatron_strategy.py, training_step: torch.tensor(…, pin_memory=True)
    for name in _FACTORIES:
        setattr(torch, name, _on_cpu(getattr(torch, name)))
    # the same lines of megatron_strategy.py: .to("cuda", non_blocking=True)
    torch.Tensor.to = _on_cpu(torch.Tensor.to)  # type: ignore[method-assign]
    # nemo/collections/llm/gpt/model/base.py, gpt_data_step; nemo/lightning/megatron_parallel.py, init_model_parallel
    torch.Tensor.cuda = lambda self, *args, **kwargs: self  # type: ignore[method-assign]
    torch.nn.Module.cuda = lambda self, *args, **kwargs: self  # type: ignore[method-assign]


def _on_cpu(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def redirected(*args: Any, **kwargs: Any) -> Any:
        if "device" in kwargs and _is_cuda(kwargs["device"]):
            kwargs["device"] = "cpu"
        kwargs.pop("pin_memory", None)
        if any(_is_cuda(argument) for argument in args):
            args = tuple("cpu" if _is_cuda(argument) else argument for argument in args)
        return function(*args, **kwargs)

    return redirected


def _is_cuda(value: Any) -> bool:
    if isinstance(value, str):
        return value.startswith("cuda")
    return isinstance(value, torch.device) and value.type == "cuda"


def _rename_tensor_types() -> None:
    # megatron/core/optimizer/{distrib_optimizer,optimizer}.py: param.type() == "torch.cuda.FloatTensor"
    original = torch.Tensor.type

    @functools.wraps(original)
    def as_on_cuda(self: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        answer = original(self, *args, **kwargs)
        return answer.replace("torch.", "torch.cuda.") if isinstance(answer, str) else answer

    torch.Tensor.type = as_on_cuda  # type: ignore[method-assign,assignment]
