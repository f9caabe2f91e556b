"""A sorted multimap on disk, larger than memory: 64-bit keys, each with the numbers of the items that have it."""

import math
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from recipes.artifacts import explained_disk_errors

KEYS = "keys.npy"  # uint64 [postings], sorted
ITEMS = "items.npy"  # uint32 [postings], sorted within a key
FILTER = "filter.npy"  # uint8, one bit for every value that the first bits of a key can take: set where a key has it

_FILTER_BITS = 8  # per posting, or up to twice as many: at most one key in eight that is not there passes
_BYTES = 64  # of memory per posting while it is sorted

Keys = NDArray[np.uint64]
Items = NDArray[np.uint32]


class Found(NamedTuple):
    """The keys looked for that are there, [found] each."""

    query: NDArray[np.int64]  # their numbers among the keys looked for
    first: NDArray[np.int64]  # their postings: first … last - 1
    last: NDArray[np.int64]


def write_postings(batches: Iterable[tuple[Keys, Items]], folder: Path, memory: int) -> None:
    """Write the multimap into `folder`, an existing one, with about `memory` bytes.

    Items must come in ascending order, and no key twice with one item. The files depend on the postings alone.
    """
    capacity = max(1, memory // _BYTES)
    runs = list(_write_runs(batches, folder, capacity))
    total = sum(len(keys) for keys, _ in runs)
    ranges = 1 << math.ceil(math.log2(max(1, total / capacity)))
    bits = _FILTER_BITS << math.ceil(math.log2(max(1, total)))
    keys = _reserved(folder / KEYS, np.dtype(np.uint64), total)
    items = _reserved(folder / ITEMS, np.dtype(np.uint32), total)
    passing = _reserved(folder / FILTER, np.dtype(np.uint8), bits // 8)
    start = 0
    for number in range(ranges):
        range_keys, range_items = _merge(runs, number, ranges)
        stop = start + len(range_keys)
        keys[start:stop], items[start:stop] = range_keys, range_items
        width = bits // ranges
        seen = np.zeros(width, bool)
        seen[_place(range_keys, bits) - number * width] = True
        passing[number * width // 8 : (number + 1) * width // 8] = np.packbits(seen, bitorder="little")
        start = stop
    for array in (keys, items, passing):
        array.flush()
    for path in folder.glob("run-*.npy"):
        path.unlink()


def _reserved(path: Path, dtype: np.dtype, size: int) -> np.memmap[Any, Any]:
    """A mapped array whose room on the disk is taken: writing to a map on a full disk kills the process."""
    mapped = open_memmap(path, "w+", dtype, (size,))
    with explained_disk_errors(path), path.open("r+b") as stream:
        os.posix_fallocate(stream.fileno(), 0, path.stat().st_size)
    return mapped


def _write_runs(batches: Iterable[tuple[Keys, Items]], folder: Path, capacity: int) -> Iterator[tuple[Keys, Items]]:
    """Sort as many postings as memory holds at a time; yields them memory-mapped."""
    pending: list[tuple[Keys, Items]] = []
    size = 0
    number = 0
    for keys, items in batches:
        pending.append((keys, items))
        size += len(keys)
        if size >= capacity:
            yield _write_run(pending, folder, number)
            pending, size, number = [], 0, number + 1
    if pending:
        yield _write_run(pending, folder, number)


def _write_run(pending: list[tuple[Keys, Items]], folder: Path, number: int) -> tuple[Keys, Items]:
    keys, items = _sorted(pending)
    key_file, item_file = (folder / f"run-{number:05d}-{column}" for column in (KEYS, ITEMS))
    np.save(key_file, keys)
    np.save(item_file, items)
    return np.load(key_file, mmap_mode="r"), np.load(item_file, mmap_mode="r")


def _merge(runs: list[tuple[Keys, Items]], number: int, ranges: int) -> tuple[Keys, Items]:
    """The postings of all runs in one of `ranges` equal ranges of keys."""
    first, last = (np.uint64(min(edge * 2**64 // ranges, 2**64 - 1)) for edge in (number, number + 1))
    pieces = []
    for keys, items in runs:
        start = np.searchsorted(keys, first)
        stop = np.searchsorted(keys, last) if number + 1 < ranges else len(keys)
        pieces.append((keys[start:stop], items[start:stop]))
    return _sorted(pieces)


def _sorted(pieces: list[tuple[Keys, Items]]) -> tuple[Keys, Items]:
    keys = np.concatenate([np.empty(0, np.uint64), *(keys for keys, _ in pieces)])
    items = np.concatenate([np.empty(0, np.uint32), *(items for _, items in pieces)])
    order = np.argsort(keys, kind="stable")  # items stay in ascending order within a key
    return keys[order], items[order]


def _place(keys: Keys, bits: int) -> NDArray[np.int64]:
    """The bit of the filter for every key: the value of its first bits."""
    return (keys >> np.uint64(65 - bits.bit_length())).astype(np.int64)


class Postings:
    """The multimap in `folder`, memory-mapped: processes share what they read of it."""

    def __init__(self, folder: Path) -> None:
        self._keys, self.items, self._filter = (
            np.load(folder / name, mmap_mode="r", allow_pickle=False) for name in (KEYS, ITEMS, FILTER)
        )

    def find(self, keys: Keys) -> Found:
        """Look up `keys`, uint64 [queries]."""
        place = _place(keys, 8 * len(self._filter))
        passed = np.flatnonzero(self._filter.take(place >> 3) >> (place & 7).astype(np.uint8) & 1)
        first = np.searchsorted(self._keys, keys[passed])
        passed, first = passed[first < len(self._keys)], first[first < len(self._keys)]
        there = np.flatnonzero(self._keys[first] == keys[passed])
        last = np.searchsorted(self._keys, keys[passed[there]], side="right")
        return Found(passed[there], first[there], last)
