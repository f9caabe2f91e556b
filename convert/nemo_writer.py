"""Writing a weights-only NeMo checkpoint (files: see `nemo_checkpoint`), one tensor at a time, with torch alone."""

import contextlib
import json
import pickle
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor
from torch.distributed.checkpoint.filesystem import _StorageInfo
from torch.distributed.checkpoint.metadata import (
    BytesStorageMetadata,
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    TensorProperties,
    TensorStorageMetadata,
)

from convert.checks import tensor_bytes
from convert.mapping import LAYERS, Slot
from convert.nemo_checkpoint import BACKEND, PREFIX

_FORMAT = {
    "sharded_backend": BACKEND,
    "sharded_backend_version": 1,
    "common_backend": "torch",
    "common_backend_version": 1,
}
# NeMo reads this before it asks for tensors: layers are stacked, not one key per layer.
_CONTENT = {"content_metadata": {"singleton_local_shards": False, "chained_optim_avoid_prefix": True}}
# Linear modules ask for their FP8 state, with Transformer Engine attention and norms do too; a strict load fails where
# the key is absent. None says that there is no state.
_MODULES_WITH_STATE = (
    "self_attention.core_attention",
    "self_attention.linear_qkv",
    "self_attention.linear_proj",
    "self_attention.q_layernorm",
    "self_attention.k_layernorm",
    "mlp.linear_fc1",
    "mlp.linear_fc2",
)


def write_checkpoint(
    folder: Path, tensors: Iterable[tuple[Slot, Tensor]], layers: int, local_names: bool = False
) -> None:
    """Write `folder`/weights.

    Args:
        folder: an existing folder.
        tensors: every slot of the model once with its Megatron-Core tensor; consumed one at a time.
        layers: number of decoder layers.
        local_names: name the norms as the local layer spec does, not as both specs load them.
    """
    weights = folder / "weights"
    weights.mkdir()
    with (weights / "__0_0.distcp").open("wb") as stream:
        data = DataFile(stream, "__0_0.distcp")
        for slot, tensor in tensors:
            key = PREFIX + slot.keys[-1 if local_names else 0]
            if slot.layer is None:
                data.add(key, tensor, tensor.shape, [0] * tensor.dim())
            else:
                data.add(key, tensor[None], [layers, *tensor.shape], [slot.layer] + [0] * tensor.dim())
        for key in _state_keys(layers):
            data.add_object(key, None)
    (weights / ".metadata").write_bytes(pickle.dumps(Metadata(data.entries, storage_data=data.places)))
    torch.save(_CONTENT, weights / "common.pt")
    (weights / "metadata.json").write_text(json.dumps(_FORMAT), encoding="utf-8")


@dataclass
class DataFile:
    """One `.distcp` file while it grows, and what the metadata will say about it."""

    stream: IO[bytes]
    name: str
    entries: dict[str, TensorStorageMetadata | BytesStorageMetadata] = field(default_factory=dict)
    places: dict[MetadataIndex, _StorageInfo] = field(default_factory=dict)

    def add(self, key: str, chunk: Tensor, size: Iterable[int], offsets: list[int]) -> None:
        """Append a chunk of the tensor `key`, whose whole size is `size`."""
        chunk = _with_own_storage(chunk)
        if key not in self.entries:
            self.entries[key] = TensorStorageMetadata(TensorProperties.create_from_tensor(chunk), torch.Size(size), [])
        entry = self.entries[key]
        assert isinstance(entry, TensorStorageMetadata)
        entry.chunks.append(ChunkStorageMetadata(torch.Size(offsets), chunk.shape))
        self._save(MetadataIndex(key, offsets), chunk)

    def add_object(self, key: str, value: Any) -> None:
        """Append a sharded object as Megatron-Core wraps it: in a list of one."""
        self.entries[key] = BytesStorageMetadata()
        self._save(MetadataIndex(key), [value])

    def add_stored(self, key: str, content: bytes) -> None:
        """Append a sharded object as the bytes that another checkpoint holds of it."""
        self.entries[key] = BytesStorageMetadata()
        self.places[MetadataIndex(key)] = _StorageInfo(self.name, self.stream.tell(), len(content))
        self.stream.write(content)

    def _save(self, index: MetadataIndex, value: Any) -> None:
        start = self.stream.tell()
        target = _Remembering(self.stream)
        try:
            with _without_crc():
                torch.save(value, target)  # type: ignore[arg-type]
        except RuntimeError:
            if target.error:
                raise target.error from None
            raise
        self.places[index] = _StorageInfo(self.name, start, self.stream.tell() - start)


class _Remembering:
    """A stream whose first error is kept: torch.save says of a full disk that a position is unexpected."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.error: OSError | None = None

    def write(self, content: Any) -> int:
        try:
            return self._stream.write(content)
        except OSError as error:
            self.error = self.error or error
            raise

    def flush(self) -> None:
        self._stream.flush()


def _with_own_storage(tensor: Tensor) -> Tensor:
    """The same numbers in the same memory, as a tensor of nothing else: torch.save writes a view's whole storage."""
    return torch.frombuffer(tensor_bytes(tensor), dtype=tensor.dtype).view(tensor.shape)


@contextlib.contextmanager
def _without_crc() -> Iterator[None]:
    """torch's CRC-32 takes four times as long as writing; the manifest holds a digest of every tensor."""
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        yield
    finally:
        torch.serialization.set_crc32_options(before)


def _state_keys(layers: int) -> Iterator[str]:
    for layer in range(layers):
        for module in _MODULES_WITH_STATE:
            yield f"{PREFIX}{LAYERS}{module}._extra_state/shard_{layer}_{layers}"
    yield f"{PREFIX}decoder.final_layernorm._extra_state/shard_0_1"
