"""Grouping records by key in bounded memory: they go into buckets on disk by ranges of their keys, and a bucket fits.

A record is (key, position), two uint64. A bucket's records come back sorted by key and then by position as long as
positions were written in ascending order, so neither the number of buckets nor the order of the buckets is seen in what
is found. Keys must be hashes; the records of one key must fit in memory together, at BYTES_PER_RECORD each.
"""

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from recipes.artifacts import explained_disk_errors

Records = NDArray[np.uint64]  # [records, 2]: key, position

BYTES_ON_DISK = 16  # per record
BYTES_PER_RECORD = 64  # of memory while a bucket is sorted: twice the records, the keys, their order, work space
_FILL = 0.5  # of the memory for an average bucket: the others spread around it


def bucket_bits(records: int, memory: int) -> int:
    """The number of leading key bits that choose a bucket, such that a bucket can be sorted in `memory` bytes."""
    buckets = records * BYTES_PER_RECORD / (_FILL * memory)
    return max(1, int(np.ceil(np.log2(max(buckets, 1)))))


def bucket_file(folder: Path, bucket: int) -> Path:
    return folder / f"{bucket:06d}.records"


class BucketWriter:
    """Appends records to the bucket files in `folder`, holding back at most `memory` bytes; `with` writes the rest."""

    def __init__(self, folder: Path, bits: int, memory: int) -> None:
        folder.mkdir(parents=True)
        self._folder, self._bits = folder, bits
        self._held: list[Records] = []
        self._size, self._limit = 0, memory // BYTES_PER_RECORD

    def add(self, keys: NDArray[np.uint64], positions: NDArray[np.int64]) -> None:
        self._held.append(np.stack([keys, positions.view(np.uint64)], axis=1))
        self._size += len(keys)
        if self._size >= self._limit:
            self._flush()

    def _flush(self) -> None:
        records = np.concatenate(self._held)
        self._held, self._size = [], 0
        buckets = (records[:, 0] >> np.uint64(64 - self._bits)).astype(np.uint32)
        records = records[np.argsort(buckets, kind="stable")]
        stops = np.cumsum(np.bincount(buckets, minlength=1 << self._bits))
        for bucket, part in enumerate(np.split(records, stops[:-1])):
            if len(part):
                self._append(bucket, part)

    def _append(self, bucket: int, records: Records) -> None:
        target = bucket_file(self._folder, bucket)
        with explained_disk_errors(target), target.open("ab") as stream:
            stream.write(records.data)

    def __enter__(self) -> "BucketWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and self._held:
            self._flush()


def read_bucket(folders: Sequence[Path], bucket: int) -> Records:
    """The records of `bucket` that writers left in `folders`, by key, and within a key in the order of the folders."""
    files = [file for folder in folders if (file := bucket_file(folder, bucket)).exists()]
    records = [np.fromfile(file, np.uint64).reshape(-1, 2) for file in files]
    joined = records[0] if len(records) == 1 else np.concatenate([np.empty((0, 2), np.uint64), *records])
    return np.asarray(joined[np.argsort(joined[:, 0], kind="stable")])
