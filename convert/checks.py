"""What every tensor must pass on its way: size, finite numbers, not all zero; and its digest, to compare both ends."""

import hashlib
from collections.abc import Iterable

import torch
from torch import Tensor

from recipes.errors import UserError


def check_tensor(place: str, name: str, tensor: Tensor, size: tuple[int, ...]) -> None:
    """Refuse a tensor that cannot belong to a trained model of the expected shape.

    Raises:
        UserError: wrong size, NaN or infinity in it, or a matrix of zeros (a head that always says the same token).
    """
    if tuple(tensor.shape) != size:
        raise UserError(f"{place}: {name} is {list(tensor.shape)}, expected {list(size)}; give the matching model.")
    if not torch.isfinite(tensor).all():
        raise UserError(f"{place}: {name} holds NaN or infinity; use an undamaged model.")
    if tensor.dim() > 1 and not tensor.any():
        raise UserError(f"{place}: {name} is all zero; use an undamaged model.")


def tensor_digest(tensor: Tensor) -> str:
    """sha256 of a tensor's bytes in row-major order, little endian."""
    return hashlib.sha256(tensor_bytes(tensor)).hexdigest()


def tensor_bytes(tensor: Tensor) -> memoryview:
    """A tensor's bytes in row-major order, without a copy where it is contiguous."""
    return tensor.contiguous().flatten().view(torch.uint8).numpy().data


def compare_with_written(place: str, tensors: Iterable[tuple[str, Tensor]], digests: dict[str, str]) -> None:
    """Read back what was written, and compare it with what went in.

    Raises:
        UserError: a tensor is missing, additional or different: this disk or memory is not to be trusted.
    """
    found = {name: tensor_digest(tensor) for name, tensor in tensors}
    different = sorted(name for name in found.keys() | digests.keys() if found.get(name) != digests.get(name))
    if different:
        raise UserError(
            f"{place}: {different[0]} reads back other than it was written; check this disk and convert again."
        )
