"""What every tensor must pass on its way: size, finite numbers, not all zero; and its digest, to compare both ends."""

import torch
import xxhash
from torch import Tensor

from recipes.errors import UserError


def check_tensor(place: str, name: str, tensor: Tensor, size: tuple[int, ...]) -> None:
    """Refuse a tensor that cannot belong to a trained model of the expected shape.

    Raises:
        UserError: wrong size, NaN or infinity in it, or a matrix of zeros (a head that always says the same token).
    """
    if tuple(tensor.shape) != size:
        raise UserError(f"{place}: {name} is {list(tensor.shape)}, expected {list(size)}; give the matching model.")
    low, high = tensor.aminmax()
    if not is_finite(torch.stack([low, high])):
        raise UserError(f"{place}: {name} holds NaN or infinity; use an undamaged model.")
    if tensor.dim() > 1 and low == high == 0:
        raise UserError(f"{place}: {name} is all zero; use an undamaged model.")


def is_finite(tensor: Tensor) -> bool:
    """Whether there is neither NaN nor infinity in it."""
    # NaN runs through aminmax, which is one pass; isfinite() of the whole takes thirty times as long.
    return not tensor.numel() or bool(torch.isfinite(torch.stack(tensor.aminmax())).all())


def tensor_digest(tensor: Tensor) -> str:
    """XXH3-128 of a tensor's bytes in row-major order, little endian: it finds damage, and says nothing of intent."""
    return xxhash.xxh3_128_hexdigest(tensor_bytes(tensor))


def tensor_bytes(tensor: Tensor) -> memoryview:
    """A tensor's bytes in row-major order, without a copy where it is contiguous."""
    return tensor.contiguous().flatten().view(torch.uint8).numpy().data
