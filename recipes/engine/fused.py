"""Kernels in the place of Transformer Engine's and Apex's, where neither is: one pass over memory instead of many.

On GPUs torch compiles what is elementwise (which takes a C compiler there); on a CPU the same functions run as they are
written. Compiled they have not yet been run: no GPU was at hand.
"""

import functools
from collections.abc import Callable, Sequence
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def compiled(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """`function`, whose first argument is a tensor, compiled where that is on a GPU."""

    @functools.cache
    def for_gpus() -> Callable[Arguments, Result]:
        return torch.compile(function)  # loads the compiler

    @functools.wraps(function)
    def chosen(*arguments: Arguments.args, **named: Arguments.kwargs) -> Result:
        first = arguments[0]
        assert isinstance(first, Tensor)
        return (for_gpus() if first.is_cuda else function)(*arguments, **named)

    return chosen


def rotated(states: Tensor, angles: Tensor, interleaved: bool = False) -> Tensor:
    """Rotary embedding (Su et al. 2021) of [sequence, batch, heads, head_dim] by angles [sequence, 1, 1, head_dim].

    The same numbers as Megatron-Core's `_apply_rotary_pos_emb_bshd`; the cosines are computed once, for all heads.
    """
    assert not interleaved and angles.size(-1) == states.size(-1)  # Qwen3 rotates all of a head, half against half
    return _rotated(states, angles.cos().to(states.dtype), angles.sin().to(states.dtype))


@compiled
def _rotated(states: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    first, second = states.chunk(2, dim=-1)
    return states * cosine + torch.cat((-second, first), dim=-1) * sine


def norm_of_all(
    chunk_size: int, overflow: Tensor, lists: Sequence[list[Tensor]], per_tensor: bool
) -> tuple[Tensor, None]:
    """Euclidean norm [1] of all tensors together, as `amp_C.multi_tensor_l2norm`. Upstream's own asks for each one."""
    (tensors,) = lists
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(tensors))).view(1), None


def scale_all(chunk_size: int, overflow: Tensor, lists: Sequence[list[Tensor]], factor: float) -> None:
    """Write the first list's tensors times `factor` into the second's, as `amp_C.multi_tensor_scale`."""
    sources, targets = lists
    torch._foreach_copy_(targets, sources)  # onto themselves, when gradients are clipped: nothing is copied then
    torch._foreach_mul_(targets, factor)


def install() -> None:
    """Put these where Megatron-Core looks for the others' (`rope_utils.py`, `optimizer/clip_grads.py`)."""
    from megatron.core.models.common.embeddings import rope_utils
    from megatron.core.optimizer import clip_grads

    rope_utils.fused_apply_rotary_pos_emb = rotated  # asked for with `apply_rope_fusion`
    clip_grads.l2_norm_impl = norm_of_all
    clip_grads.multi_tensor_scale_impl = scale_all
