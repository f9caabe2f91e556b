"""The average of several NeMo checkpoints as one more, from which training can go on.

Key by key and chunk by chunk, as the newest checkpoint is cut; the others may be cut otherwise. What is averaged:
weights, and, if all checkpoints hold it, the optimizer's state: fp32 master parameters like the weights; `exp_avg`;
`exp_avg_sq`, whose average is a mean of second moments, so never below zero. What cannot be averaged is the newest's:
steps, schedule, consumed samples, FP8 state, random states.

Master parameters and weights are averaged and rounded each for itself; from the first step on weights follow masters.
"""

import pickle
import shutil
from collections.abc import Iterator, Sequence
from math import prod
from pathlib import Path
from typing import Any

import torch
from rich.progress import Progress
from torch import Tensor
from torch.distributed.checkpoint.metadata import (
    BytesStorageMetadata,
    ChunkStorageMetadata,
    Metadata,
    TensorStorageMetadata,
)

from convert import manifest
from convert.checks import is_finite, tensor_digest
from convert.combine import add_scaled, ema_weights, uniform_weights, wider
from convert.mapping import EMBEDDING
from convert.nemo_checkpoint import PREFIX, NemoCheckpoint
from convert.nemo_writer import DataFile
from convert.origin import origin
from convert.passage import QUIET
from convert.safe_pickle import read_common
from convert.target import new_folder
from recipes.artifacts import digest, write_json
from recipes.checkpoints import digests_of_rank, write_digests
from recipes.errors import UserError

_OPTIMIZER = "optimizer."
# Megatron-Core's `dp_reshardable` state: one flat tensor for each bucket of parameters, cut as this layout cuts them.
_BUCKETS = "optimizer.distributed."
_OF_THE_OPTIMIZER = ("optimizer", "optimizer_states", "lr_schedulers")  # in common.pt
_DATA = "__0_0.distcp"


def average(
    checkpoints: Sequence[Path],
    out: Path,
    *,
    decay: float | None = None,
    optimizer: bool = True,
    progress: Progress = QUIET,
) -> dict[str, Any]:
    """Write the average of `checkpoints`, oldest first, as the checkpoint `out`, and read it back to compare.

    In memory are the sum of one chunk and that chunk of one checkpoint.

    Args:
        decay: of an exponential moving average (`convert.combine.ema_weights`); without it all count the same.
        optimizer: take its state along if all checkpoints hold it. Without it a phase can begin with `out`, not go on.

    Returns:
        The manifest (`conversion.json`); its `digest` identifies everything that was averaged.

    Raises:
        UserError: an unusable checkpoint, checkpoints of different models or layouts, NaN, occupied target, no space.
    """
    sources = [_Checkpoint(path) for path in checkpoints]
    newest, count = sources[-1], len(sources)
    coefficients = uniform_weights(count) if decay is None else ema_weights(count, decay)
    optimizer = optimizer and all(source.has_optimizer for source in sources)
    for source in sources[:-1]:
        _refuse_other_model(newest, source, optimizer)
    with new_folder(out, [source.folder for source in sources]) as folder:
        (folder / "weights").mkdir()
        digests = _write_data(folder / "weights", sources, coefficients, optimizer, progress)
        _write_common(folder / "weights", newest, optimizer)
        if (newest.folder / "context").is_dir():
            shutil.copytree(newest.folder / "context", folder / "context")
        _compare(out, _Checkpoint(folder), digests, progress)
        terms = [
            {"place": str(source.folder), "coefficient": coefficient, "iteration": source.iteration}
            for source, coefficient in zip(sources, coefficients, strict=True)
        ]
        content = {
            "kind": "average",
            "source": str(newest.folder),
            "iteration": newest.iteration,
            "combination": {"method": "average" if decay is None else "ema", "terms": terms},
            "optimizer": optimizer,
            "dtype": str(newest.tensor_dtype(PREFIX + EMBEDDING.megatron)).removeprefix("torch."),
            "origin": origin(newest.folder),
            "tools": manifest.tools(),
            "digest": digest(digests),
            "tensors": digests,
        }
        write_json(folder / manifest.NAME, content)
        write_digests(folder, [digests_of_rank(folder, 0)])
    return content


class _Checkpoint(NemoCheckpoint):
    """A checkpoint with all that is in it, by key."""

    @property
    def has_optimizer(self) -> bool:
        return any(key.startswith(_OPTIMIZER) for key in self._tensors)

    def tensors(self, optimizer: bool) -> dict[str, TensorStorageMetadata]:
        """Size, dtype and chunks of every tensor.

        Raises:
            UserError: the chunks of one are not all of it.
        """
        tensors = {key: entry for key, entry in self._tensors.items() if optimizer or not key.startswith(_OPTIMIZER)}
        for key, entry in tensors.items():
            if sum(prod(chunk.sizes) for chunk in entry.chunks) != prod(entry.size):
                raise UserError(f"{self.folder}: {key} is incomplete; use another checkpoint.")
        return tensors

    def tensor_dtype(self, key: str) -> torch.dtype:
        return self._tensors[key].properties.dtype

    def objects(self, optimizer: bool) -> Iterator[tuple[str, bytes]]:
        """What is no tensor, as its unread bytes."""
        for key, entry in self._metadata.state_dict_metadata.items():
            if isinstance(entry, BytesStorageMetadata) and (optimizer or not key.startswith(_OPTIMIZER)):
                with self._stored(key) as window:
                    content = window.readall()
                yield key, content

    def layout(self) -> dict[str, set[tuple[torch.Size, torch.Size]]]:
        """How tensor and pipeline parallel ranks cut the weights."""
        weights = self.tensors(optimizer=False).items()
        return {key: {(chunk.offsets, chunk.sizes) for chunk in entry.chunks} for key, entry in weights}

    @property
    def reshaped(self) -> dict[str, Any]:
        """Megatron-Core's note on the tensors that it stores in another shape than they have."""
        return getattr(self._metadata, "mcore_data", None) or {}

    def region(self, key: str, wanted: ChunkStorageMetadata) -> Tensor:
        """The same, finite.

        Raises:
            UserError: it is incomplete, cannot be read, or holds NaN or infinity.
        """
        tensor = super().region(key, wanted)
        # Between the parameters of a bucket lies memory that nothing was ever written to.
        if not key.startswith(_BUCKETS) and not is_finite(tensor):
            raise UserError(f"{self.folder}: {key} holds NaN or infinity; leave this checkpoint out.")
        return tensor


def _refuse_other_model(newest: _Checkpoint, other: _Checkpoint, optimizer: bool) -> None:
    expected, found = newest.tensors(optimizer), other.tensors(optimizer)
    for key in sorted(expected.keys() | found.keys()):
        has, lacks = (newest, other) if key in expected else (other, newest)
        if key not in found or key not in expected:
            raise UserError(f"{lacks.folder}: it has no {key}, which {has.folder} has; give checkpoints of one run.")
        if found[key].size != expected[key].size:
            sizes = f"{list(found[key].size)}, but {newest.folder} has {list(expected[key].size)}"
            raise UserError(f"{other.folder}: {key} is {sizes}; give checkpoints of one run.")
    if any(key.startswith(_BUCKETS) for key in expected) and newest.layout() != other.layout():
        raise UserError(
            f"{other.folder}: its optimizer state is of another parallel layout than that of {newest.folder}; "
            f"average the weights alone."
        )


def _write_data(
    weights: Path, sources: Sequence[_Checkpoint], coefficients: Sequence[float], optimizer: bool, progress: Progress
) -> dict[str, str]:
    """Write data file and metadata; returns the digest of every chunk."""
    newest, digests = sources[-1], dict[str, str]()
    tensors = newest.tensors(optimizer)
    task = progress.add_task("averaging", total=_bytes(tensors))
    with (weights / _DATA).open("wb") as stream:
        data = DataFile(stream, _DATA)

        def add(key: str, entry: TensorStorageMetadata, chunk: ChunkStorageMetadata) -> None:
            tensor = _sum(sources, coefficients, key, chunk)
            digests[_name(key, chunk)] = tensor_digest(tensor)
            data.add(key, tensor, entry.size, list(chunk.offsets))
            progress.advance(task, tensor.nbytes)

        for key, entry in tensors.items():
            for chunk in entry.chunks:
                add(key, entry, chunk)  # a function, so that a chunk is gone before the next one is summed
        for key, content in newest.objects(optimizer):
            data.add_stored(key, content)
    progress.remove_task(task)
    metadata = Metadata(data.entries, storage_data=data.places)
    vars(metadata)["mcore_data"] = newest.reshaped
    (weights / ".metadata").write_bytes(pickle.dumps(metadata))
    return digests


def _sum(
    sources: Sequence[_Checkpoint], coefficients: Sequence[float], key: str, chunk: ChunkStorageMetadata
) -> Tensor:
    """Σ coefficient · chunk in the newest's dtype; the newest's own chunk where it holds no real numbers."""
    dtypes = [source.tensor_dtype(key) for source in sources]
    if not dtypes[-1].is_floating_point:
        return sources[-1].region(key, chunk)
    total = None
    for source, coefficient in zip(sources, coefficients, strict=True):
        if coefficient:
            total = add_scaled(total, source.region(key, chunk), coefficient, wider(*dtypes))
    assert total is not None  # coefficients sum to 1
    return total.to(dtypes[-1])


def _write_common(weights: Path, newest: _Checkpoint, optimizer: bool) -> None:
    """What is not sharded; with nothing of an optimizer whose sharded state is left out."""
    if optimizer:
        shutil.copyfile(newest.weights / "common.pt", weights / "common.pt")
    else:
        common = read_common(newest.weights / "common.pt")
        torch.save({key: value for key, value in common.items() if key not in _OF_THE_OPTIMIZER}, weights / "common.pt")
    shutil.copyfile(newest.weights / "metadata.json", weights / "metadata.json")


def _compare(out: Path, written: _Checkpoint, digests: dict[str, str], progress: Progress) -> None:
    tensors = written.tensors(optimizer=True)
    task = progress.add_task("reading it back", total=_bytes(tensors))
    for key, entry in tensors.items():
        for chunk in entry.chunks:
            tensor = written.region(key, chunk)
            if tensor_digest(tensor) != digests.get(_name(key, chunk)):
                raise UserError(
                    f"{out}: {key} reads back other than it was written; check this disk and average again."
                )
            progress.advance(task, tensor.nbytes)
    progress.remove_task(task)


def _name(key: str, chunk: ChunkStorageMetadata) -> str:
    return f"{key} {list(chunk.offsets)}"


def _bytes(tensors: dict[str, TensorStorageMetadata]) -> int:
    return sum(prod(entry.size) * entry.properties.dtype.itemsize for entry in tensors.values())
