"""Tensors on their way from a source to files: in order, checked, of the wanted dtype, with digests and progress."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import torch
from rich.progress import Progress
from torch import Tensor

from convert.checks import is_finite, tensor_digest
from convert.mapping import Slot, slots
from convert.weights import Weights
from recipes.errors import UserError

Item = TypeVar("Item")
QUIET = Progress(disable=True)


def passage(
    source: Weights, dtype: torch.dtype, digests: dict[str, str], what: str, progress: Progress = QUIET
) -> Iterator[tuple[Slot, dict[str, Tensor]]]:
    """Every slot of a model with its Hugging Face tensors in `dtype`, one slot in memory at a time.

    Args:
        digests: filled with the digest of every tensor.
        what: the description of a bar of bytes.
    """
    task = progress.add_task(what, total=source.shape.parameters * dtype.itemsize)
    for slot in slots(source.shape):
        parts = {name: _cast(source.place, name, tensor, dtype) for name, tensor in source.parts(slot).items()}
        digests.update((name, tensor_digest(tensor)) for name, tensor in parts.items())
        yield slot, parts
        progress.advance(task, sum(tensor.nbytes for tensor in parts.values()))
    progress.remove_task(task)


def _cast(place: str, name: str, tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """`tensor` in `dtype`; it was finite, and must stay so."""
    cast = tensor.to(dtype)
    if cast is not tensor and not is_finite(cast):
        raise UserError(f"{place}: {name} is too large for {dtype}; write bf16 or fp32 with --dtype.")
    return cast


def ahead(items: Iterator[Item]) -> Iterator[Item]:
    """The same items, each made in a thread while the one before is used."""
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(next, items, None)
        while (item := following.result()) is not None:
            following = pool.submit(next, items, None)
            yield item


def read_back(written: Weights, digests: dict[str, str], place: Path, progress: Progress = QUIET) -> None:
    """Read everything that was written again, check it as any other model is checked, and compare the digests.

    Args:
        place: what the folder will be called when all is well.

    Raises:
        UserError: a tensor is damaged or different: this disk or memory is not to be trusted.
    """
    found = dict[str, str]()
    for _ in passage(written, written.dtype, found, "reading it back", progress):
        pass
    different = sorted(name for name in found.keys() | digests.keys() if found.get(name) != digests.get(name))
    if different:
        raise UserError(
            f"{place}: {different[0]} reads back other than it was written; check this disk and convert again."
        )
