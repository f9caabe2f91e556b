"""One file of a Hugging Face model's weights, open only while a tensor is read: what was mapped is freed."""

from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from convert.mapping import Size
from convert.safe_pickle import read_tensors
from recipes.errors import UserError

DTYPES = {"BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32}
NAMES = {dtype: name for name, dtype in DTYPES.items()}


class Entry(NamedTuple):
    """What a file says of one of its tensors; `dtype` as safetensors names it, or torch where that has no such name."""

    dtype: str
    size: Size


class SafetensorsFile:
    """A safetensors file.

    Raises:
        UserError: the file is missing, cut off or damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        _refuse_missing(path)
        with self._open() as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
            self.entries = {name: Entry(each.get_dtype(), tuple(each.get_shape())) for name, each in slices.items()}

    def tensor(self, name: str) -> Tensor:
        """One tensor, mapped from the file: nothing is read before it is used."""
        with self._open() as file:
            tensor: Tensor = file.get_tensor(name)
        return tensor

    def _open(self) -> Any:
        try:
            return safe_open(self.path, framework="pt")
        except (SafetensorError, OSError) as error:
            raise UserError(f"{self.path}: not a whole safetensors file ({error}); fetch it again.") from error


class PickledFile:
    """A file written by torch.save, read through torch's own restricted unpickler.

    Raises:
        UserError: the file is missing, damaged, or holds anything but tensors by name.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        _refuse_missing(path)
        self.entries = {
            name: Entry(NAMES.get(tensor.dtype, str(tensor.dtype)), tuple(tensor.shape))
            for name, tensor in read_tensors(path).items()
        }

    def tensor(self, name: str) -> Tensor:
        """One tensor, mapped from the file."""
        return read_tensors(self.path)[name]


ShardFile = SafetensorsFile | PickledFile


def _refuse_missing(path: Path) -> None:
    if not path.is_file():
        raise UserError(f"{path}: the shard is missing; fetch the model again.")
