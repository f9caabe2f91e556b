"""Reading a NeMo checkpoint in one process, one tensor at a time, with torch alone.

    <name>/weights/.metadata       pickled: for every key its size, its chunks, and where each chunk's bytes lie
    <name>/weights/*.distcp        the chunks, each written by torch.save, one after the other
    <name>/weights/common.pt       what is not sharded (iteration, content metadata)
    <name>/weights/metadata.json   format and version; written last, so its absence means a half-written checkpoint
    <name>-unfinished              NeMo's marker beside a checkpoint whose writing was interrupted

A key of the layers holds all of them, stacked: [num_layers, ...]. Chunks cut it by layer and tensor-parallel rank, so
every parallel layout reads the same. Sources: megatron/core/dist_checkpointing/strategies/torch.py (0.15.3),
torch/distributed/checkpoint/filesystem.py.
"""

import contextlib
import io
import json
import os
from collections.abc import Iterator
from functools import cached_property
from math import prod
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import torch
from torch import Tensor
from torch.distributed.checkpoint.metadata import ChunkStorageMetadata, MetadataIndex, TensorStorageMetadata

from convert.checks import check_tensor
from convert.mapping import EMBEDDING, Slot, hf_sizes, slots, to_hf
from convert.safe_pickle import is_dense, read_common, read_metadata
from convert.shard_files import DTYPES
from recipes.errors import UserError
from recipes.shape import Qwen3Shape

PREFIX = "module."  # nemo/lightning/megatron_parallel.py puts it before every key of the model
BACKEND = "torch_dist"
_MODEL = ("embedding.", "decoder.", "output_layer.")


class NemoCheckpoint:
    """The model tensors of a checkpoint, read on demand. Slots say which tensor is meant.

    Raises:
        UserError: no such checkpoint, half-written, in another format, damaged, or not a GPT model.
    """

    def __init__(self, folder: Path) -> None:
        folder = folder.resolve()  # a link's own name says nothing of an interrupted save
        folder = folder.parent if folder.name == "weights" else folder
        self.folder = folder
        self.weights = folder / "weights" if (folder / "weights").is_dir() else folder
        _refuse_incomplete(folder, self.weights)
        self._metadata = read_metadata(self.weights / ".metadata")
        stored = self._metadata.state_dict_metadata
        self._tensors = {key: entry for key, entry in stored.items() if isinstance(entry, TensorStorageMetadata)}
        if PREFIX + EMBEDDING.megatron not in self._tensors:
            raise UserError(f"{folder}: expected NeMo's GPT model, but there is no {PREFIX}{EMBEDDING.megatron} in it.")

    @property
    def iteration(self) -> int | None:
        """Optimizer steps behind these weights; None if the checkpoint does not say."""
        step = read_common(self.weights / "common.pt").get("global_step")
        return step if isinstance(step, int) else None

    def model_keys(self) -> set[str]:
        """Keys of the model's tensors without the prefix, as slots name them; no optimizer state."""
        keys = {key.removeprefix(PREFIX) for key in self._tensors if key.startswith(PREFIX)}
        return {key for key in keys if key.startswith(_MODEL)}

    def size(self, slot: Slot) -> tuple[int, ...]:
        """Size of the slot's whole tensor; for a layer with the layer axis first."""
        return tuple(self._entry(slot)[1].size)

    def dtype(self, slot: Slot) -> torch.dtype:
        """dtype of the slot's tensor as stored."""
        return self._entry(slot)[1].properties.dtype

    def read(self, slot: Slot) -> Tensor:
        """The slot's tensor (of its one layer), put together from its chunks.

        Raises:
            UserError: the tensor is absent, or its chunks do not cover it or cannot be read.
        """
        key, entry = self._entry(slot)
        start, size = [0] * len(entry.size), list(entry.size)
        if slot.layer is None:
            return self.region(key, ChunkStorageMetadata(torch.Size(start), entry.size))
        start[0], size[0] = slot.layer, 1
        return self.region(key, ChunkStorageMetadata(torch.Size(start), torch.Size(size)))[0]

    def region(self, key: str, wanted: ChunkStorageMetadata) -> Tensor:
        """The part of the tensor `key` that `wanted`, a chunk of any checkpoint, covers, put together from its chunks.

        Raises:
            UserError: its chunks do not cover it or cannot be read.
        """
        entry, missing = self._tensors[key], prod(wanted.sizes)
        target = torch.empty(0)
        for chunk in entry.chunks:
            both = _overlap(wanted, chunk)
            if both is None:
                continue
            part = self._chunk(key, chunk)[_box(both, chunk)]
            missing -= part.numel()
            if both == wanted:
                target = part
                continue
            if target.shape != wanted.sizes:
                target = torch.empty(wanted.sizes, dtype=entry.properties.dtype)
            target[_box(both, wanted)] = part
        if missing:
            raise UserError(f"{self.folder}: {key} is incomplete, {missing:,} weights lack; use another checkpoint.")
        return target

    def _entry(self, slot: Slot) -> tuple[str, TensorStorageMetadata]:
        for key in (PREFIX + name for name in slot.keys):
            if key in self._tensors:
                return key, self._tensors[key]
        raise UserError(f"{self.folder}: it has no tensor {slot.keys[0]}, which the config asks for; give another one.")

    def _chunk(self, key: str, chunk: ChunkStorageMetadata) -> Tensor:
        with self._stored(key, chunk.offsets) as window:
            tensor = torch.load(cast(IO[bytes], window), map_location="cpu", weights_only=True)
        dtype = self._tensors[key].properties.dtype
        if not is_dense(tensor) or tensor.shape != chunk.sizes or tensor.dtype != dtype:
            raise UserError(f"{self.folder}: {key} is not what its metadata states; use another checkpoint.")
        return cast(Tensor, tensor)

    @contextlib.contextmanager
    def _stored(self, key: str, offsets: torch.Size | None = None) -> Iterator["_Window"]:
        """The bytes of a chunk or, without `offsets`, of an object; what the block raises becomes one sentence."""
        try:
            info = self._metadata.storage_data[MetadataIndex(key, offsets)]
            # All files lie beside the metadata; taking the bare name keeps a forged path from leading elsewhere.
            with (self.weights / Path(info.relative_path).name).open("rb") as stream:
                yield _Window(stream, info.offset, info.length)
        except Exception as error:  # what a damaged pickle raises has no end
            reason = type(error).__name__
            raise UserError(f"{self.folder}: {key} cannot be read ({reason}); use another checkpoint.") from error


class NemoWeights:
    """The weights of a checkpoint as a model of `shape`: the other side of the mapping.

    Raises:
        UserError: the checkpoint is unusable, or holds a model of another shape.
    """

    def __init__(self, checkpoint: Path, shape: Qwen3Shape) -> None:
        self.checkpoint, self.shape = NemoCheckpoint(checkpoint), shape
        self.iteration = self.checkpoint.iteration
        self._sizes = hf_sizes(shape)
        self._refuse_other_model()

    @property
    def place(self) -> str:
        return str(self.checkpoint.folder)

    @property
    def folders(self) -> tuple[Path, ...]:
        return (self.checkpoint.folder,)

    def parts(self, slot: Slot) -> dict[str, Tensor]:
        """The slot's Hugging Face tensors, checked."""
        parts = to_hf(slot, self.checkpoint.read(slot), self.shape)
        for name, tensor in parts.items():
            check_tensor(self.place, name, tensor, self._sizes[name])
        return parts

    def _refuse_other_model(self) -> None:
        """Compare what the checkpoint holds with what the shape asks for."""
        known = list(slots(self.shape))
        unknown = sorted(self.checkpoint.model_keys() - {key for slot in known for key in slot.keys})
        if unknown:
            raise UserError(f"{self.place}: the config has no place for {unknown[0]}; give the base it comes from.")
        for slot in known:
            found, expected = self.checkpoint.size(slot), slot.megatron_size(self.shape)
            padded = slot.rule.over_vocabulary and found[0] >= expected[0] and found[1:] == expected[1:]
            if found != expected and not padded:
                sizes = f"{list(found)}, the config asks for {list(expected)}"
                raise UserError(f"{self.place}: {slot.keys[0]} is {sizes}; give the base it comes from.")

    @cached_property
    def dtypes(self) -> frozenset[torch.dtype]:
        """Those of all weights, as stored."""
        return frozenset(self.checkpoint.dtype(slot) for slot in slots(self.shape))

    @property
    def dtype(self) -> torch.dtype:
        """The one dtype of all weights."""
        if len(self.dtypes) > 1 or not self.dtypes <= set(DTYPES.values()):
            names = ", ".join(sorted(str(each).removeprefix("torch.") for each in self.dtypes))
            raise UserError(
                f"{self.place}: expected weights in one of bf16, fp16 or fp32, found {names}; export it with --dtype, "
                f"which says what to write."
            )
        return next(iter(self.dtypes))


class _Window(io.RawIOBase):
    """A part of an open file as a file of its own, so that torch reads it without a copy in between."""

    def __init__(self, stream: BinaryIO, start: int, length: int) -> None:
        self._stream, self._start, self._length, self._at = stream, start, length, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._length}[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")[: max(self._length - self._at, 0)]
        self._stream.seek(self._start + self._at)
        read = self._stream.readinto(view)  # type: ignore[attr-defined]
        self._at += read
        return int(read)


def _overlap(one: ChunkStorageMetadata, other: ChunkStorageMetadata) -> ChunkStorageMetadata | None:
    """The box that both cover."""
    starts = list(map(max, one.offsets, other.offsets))
    ends = [min(a + b, c + d) for a, b, c, d in zip(one.offsets, one.sizes, other.offsets, other.sizes, strict=True)]
    sizes = [end - start for start, end in zip(starts, ends, strict=True)]
    return ChunkStorageMetadata(torch.Size(starts), torch.Size(sizes)) if all(size > 0 for size in sizes) else None


def _box(part: ChunkStorageMetadata, whole: ChunkStorageMetadata) -> tuple[slice, ...]:
    """Where in `whole` the `part` lies."""
    starts = [start - origin for start, origin in zip(part.offsets, whole.offsets, strict=True)]
    return tuple(slice(start, start + size) for start, size in zip(starts, part.sizes, strict=True))


def _refuse_incomplete(folder: Path, weights: Path) -> None:
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such checkpoint; give the folder that holds weights/.")
    if folder.name.endswith("-unfinished") or folder.with_name(f"{folder.name}-unfinished").exists():
        raise UserError(f"{folder}: writing this checkpoint was interrupted; use the one before it.")
    try:
        stated = json.loads((weights / "metadata.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{folder}: no readable weights/metadata.json; give a whole NeMo checkpoint.") from error
    backend = stated.get("sharded_backend") if isinstance(stated, dict) else None
    if backend != BACKEND:
        raise UserError(f"{folder}: expected a checkpoint in {BACKEND} format, found {backend!r}.")
