"""One numbering of all documents over the files of the parts: a position is a document's place in the global order."""

import itertools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recipes.artifacts import explained_disk_errors

Positions = NDArray[np.int64]


def first_positions(files: Sequence[Path]) -> Positions:
    """The position of each file's first row, and after the last the number of all rows; int64 [files + 1]."""
    rows = [len(open_rows(file)) for file in files]
    return np.cumsum([0, *rows], dtype=np.int64)


def open_rows(file: Path) -> NDArray[Any]:
    """The array in `file`, mapped: rows are read when they are used."""
    array: NDArray[Any] = np.load(file, mmap_mode="r", allow_pickle=False)
    return array


def read_rows(files: Sequence[Path], firsts: Positions, positions: Positions) -> NDArray[Any]:
    """The rows at `positions`, in that order. Each file is opened once, and read from its beginning to its end."""
    order = np.argsort(positions, kind="stable")
    ordered = positions[order]
    bounds = np.searchsorted(ordered, firsts)
    sample = open_rows(files[0])
    rows = np.empty((len(positions), *sample.shape[1:]), sample.dtype)
    for number in np.flatnonzero(np.diff(bounds)):
        chosen = slice(bounds[number], bounds[number + 1])
        array = open_rows(files[number])
        rows[order[chosen]] = array[ordered[chosen] - firsts[number]]
    return rows


def write_masks(folder: Path, firsts: Positions, marks: NDArray[Any]) -> list[Path]:
    """Write one boolean array per part, True where `marks`, which is indexed by position, is not zero."""
    folder.mkdir()
    files = []
    for number, (start, stop) in enumerate(itertools.pairwise(firsts)):
        files.append(folder / f"{number:06d}.npy")
        write_rows(files[-1], marks[start:stop] != 0)
    return files


def write_rows(file: Path, rows: NDArray[Any]) -> None:
    """Write a .npy file.

    Raises:
        UserError: the disk is full.
    """
    with explained_disk_errors(file):
        np.save(file, rows, allow_pickle=False)


def mapped_zeros(file: Path, rows: int, dtype: type[np.generic]) -> NDArray[Any]:
    """A new mapped array, with its room on the disk taken: writing to a page that finds none would kill the process.

    Raises:
        UserError: the disk is full.
    """
    size = max(rows, 1) * np.dtype(dtype).itemsize
    with explained_disk_errors(file), file.open("wb") as stream:
        os.posix_fallocate(stream.fileno(), 0, size)
    return np.memmap(file, dtype, "r+", shape=(max(rows, 1),))
