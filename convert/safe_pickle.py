"""Reading pickles, those inside a `torch_dist` checkpoint above all, without running what they say.

`.metadata` is a pickled `torch.distributed.checkpoint.metadata.Metadata`, and whoever writes a checkpoint could put
code into it. Only the classes that such a file needs are let in; every other name is refused.
"""

import io
import pickle
import re
from pathlib import Path, PosixPath, PurePosixPath
from typing import Any

import torch
from torch.distributed.checkpoint import filesystem, metadata, planner

from recipes.errors import UserError


class McoreMetadata(metadata.Metadata):
    """Stands in for Megatron-Core's `MCoreMetadata`, so that Megatron-Core need not be imported."""


class McoreSavePlan(planner.SavePlan):
    """Stands in for Megatron-Core's `MCoreSavePlan`, which its metadata carries along."""


_MEGATRON = "megatron.core.dist_checkpointing.strategies.torch"
_CLASSES: tuple[type, ...] = (
    metadata.Metadata,
    metadata.MetadataIndex,
    metadata.TensorStorageMetadata,
    metadata.BytesStorageMetadata,
    metadata.ChunkStorageMetadata,
    metadata.TensorProperties,
    metadata._MEM_FORMAT_ENCODING,
    metadata.StorageMeta,
    filesystem._StorageInfo,
    filesystem._StoragePrefix,
    planner.WriteItem,
    planner.WriteItemType,
    planner.BytesIOWriteData,
    planner.TensorWriteData,
    planner.SavePlan,
)
_ALLOWED: dict[tuple[str, str], Any] = {
    **{(each.__module__, each.__name__): each for each in _CLASSES},
    ("torch", "Size"): torch.Size,
    ("torch.serialization", "_get_layout"): torch.serialization._get_layout,
    ("pathlib", "PosixPath"): PosixPath,
    ("pathlib", "PurePosixPath"): PurePosixPath,
    (_MEGATRON, "MCoreMetadata"): McoreMetadata,
    (_MEGATRON, "MCoreSavePlan"): McoreSavePlan,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
            return getattr(torch, name)
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it names {module}.{name}") from None


def read_metadata(path: Path) -> metadata.Metadata:
    """The metadata of a distributed checkpoint.

    Raises:
        UserError: absent, cut off, or it holds anything but checkpoint metadata.
    """
    return _restricted(path, metadata.Metadata, lambda: _whole(_Unpickler(io.BytesIO(path.read_bytes())).load()))


def read_common(path: Path) -> dict[str, Any]:
    """The unsharded state of a checkpoint (`common.pt`), through torch's own restricted unpickler.

    Raises:
        UserError: absent, cut off, or it names a class outside torch's allow-list.
    """
    return _restricted(path, dict, lambda: torch.load(path, map_location="cpu", weights_only=True))


def _named(error: pickle.UnpicklingError) -> str:
    """What the pickle asked for. torch's own words go on to say how to let it in."""
    name = re.search(r"GLOBAL (\S+)", str(error))
    return f"it names {name[1]}" if name else str(error) if len(str(error)) < 100 else "it holds more than plain data"


def _whole(found: Any) -> Any:
    """`found`, if every field that a reader of metadata relies on is there and of its type.

    Raises:
        ValueError, AttributeError, TypeError: something lacks or is of another type.
    """
    if not isinstance(found, metadata.Metadata):
        return found
    numbers: list[Any] = []
    for key, entry in found.state_dict_metadata.items():
        if not isinstance(key, str):
            raise ValueError(key)
        if isinstance(entry, metadata.TensorStorageMetadata):
            if not isinstance(entry.properties.dtype, torch.dtype):
                raise ValueError(key)
            for chunk in entry.chunks:
                if not len(chunk.offsets) == len(chunk.sizes) == len(entry.size):
                    raise ValueError(key)
                numbers += [*chunk.offsets, *chunk.sizes]
            numbers += entry.size
    for index, place in (found.storage_data or {}).items():
        if not isinstance(index, metadata.MetadataIndex) or not isinstance(place.relative_path, str):
            raise ValueError(index)
        numbers += [place.offset, place.length]
    if not all(isinstance(number, int) and number >= 0 for number in numbers):
        raise ValueError("expected sizes and places")
    return found


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a file written by torch.save, mapped from it, through torch's own restricted unpickler.

    Raises:
        UserError: absent, cut off, or it holds anything but tensors by name.
    """
    content = _restricted(path, dict, lambda: torch.load(path, map_location="cpu", weights_only=True, mmap=True))
    for name, value in content.items():
        if not isinstance(name, str) or not is_dense(value):
            raise UserError(f"{path}: expected tensors by name, found {name!r}; save the model as safetensors instead.")
    return content


def is_dense(value: Any) -> bool:
    """Whether `value` is a tensor with a number in memory for each of its places: not sparse, nested, nor on `meta`."""
    if not isinstance(value, torch.Tensor) or value.is_nested:
        return False
    return value.layout == torch.strided and value.device.type == "cpu"


def _restricted(path: Path, kind: type, load: Any) -> Any:
    try:
        loaded = load()
    except FileNotFoundError as error:
        raise UserError(f"{path}: the file does not exist; the checkpoint is incomplete, use another one.") from error
    except pickle.UnpicklingError as error:
        raise UserError(f"{path}: refused, {_named(error)}; use a file of plain tensors that you trust.") from error
    except Exception as error:
        raise UserError(f"{path}: the file is damaged ({type(error).__name__}); use another checkpoint.") from error
    if not isinstance(loaded, kind):
        raise UserError(f"{path}: expected {kind.__name__}, found {type(loaded).__name__}; use another checkpoint.")
    return loaded
