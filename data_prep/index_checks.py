"""What an .idx lists, checked array by array: each function says the first fault, or None.

They go over mapped arrays `CHUNK` sequences at a time, because an index of 200 million documents has 4 GB: time grows
with the number of sequences, memory does not.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

CHUNK = 1 << 18


def chunks(count: int, size: int = CHUNK) -> Iterator[slice]:
    """`range(count)` in pieces of at most `size`."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def bad_boundary(boundaries: NDArray[np.int64], sequences: int, single: bool) -> str | None:
    """`boundaries` [documents + 1] do not divide the sequences; `single`: one for each document."""
    if single and len(boundaries) != sequences + 1:
        return f"{len(boundaries)} document boundaries for {sequences} sequences, one sequence per document expected"
    if not len(boundaries) or boundaries[0] != 0 or boundaries[-1] != sequences:
        return f"the document boundaries do not run from 0 to {sequences}"
    for part in chunks(len(boundaries) - 1):
        here, after = boundaries[part], boundaries[part.start + 1 : part.stop + 1]
        wrong = after != np.arange(part.start + 1, part.stop + 1) if single else after < here
        if wrong.any():
            number = int(wrong.argmax())
            return f"document {part.start + number} goes from sequence {here[number]} to {after[number]}"
    return None


def bad_length(lengths: NDArray[np.int32]) -> str | None:
    """A sequence without tokens; `lengths` [sequences], tokens."""
    for part in chunks(len(lengths)):
        if lengths[part].min() < 1:
            number = int((lengths[part] < 1).argmax())
            return f"document {part.start + number} has {lengths[part][number]} tokens"
    return None


def gap(lengths: NDArray[np.int32], pointers: NDArray[np.int64], itemsize: int) -> str | None:
    """Where the sequences do not follow one another from byte 0; `pointers` [sequences], bytes."""
    expected = 0
    for part in chunks(len(lengths)):
        sizes = lengths[part].astype(np.int64) * itemsize
        ends = expected + np.cumsum(sizes)
        starts = ends - sizes
        wrong = pointers[part] != starts
        if wrong.any():
            number = int(wrong.argmax())
            start = pointers[part][number]
            return f"document {part.start + number} starts at byte {start}, those before it end at {starts[number]}"
        expected = int(ends[-1])
    return None


def outside(lengths: NDArray[np.int32], pointers: NDArray[np.int64], itemsize: int, data_bytes: int) -> str | None:
    """A sequence that does not lie within a .bin of `data_bytes`."""
    for part in chunks(len(lengths)):
        sizes = lengths[part].astype(np.int64) * itemsize
        starts = pointers[part]
        wrong = (starts < 0) | (starts & (itemsize - 1) != 0) | (starts > data_bytes - sizes)
        if wrong.any():
            number = int(wrong.argmax())
            where = f"document {part.start + number} of {sizes[number]} bytes starts at byte {starts[number]}"
            return f"{where} of a .bin of {data_bytes} bytes"
    return None
