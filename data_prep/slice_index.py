"""The .idx of a slice: documents of a shard, in any order, written and hashed piece by piece."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_prep.index_checks import chunks
from data_prep.indexed import CODES, HEADER, MAGIC, VERSION, Index, index_file


def write_slice_index(prefix: Path, index: Index, documents: NDArray[np.int32]) -> str:
    """Write PREFIX.idx that lists `documents` [documents of the slice], numbers in `index`; returns its sha256."""
    sha = hashlib.sha256()
    with index_file(prefix).open("wb") as stream:
        for content in _pieces(index, documents):
            stream.write(content)
            sha.update(content)
    return sha.hexdigest()


def _pieces(index: Index, documents: NDArray[np.int32]) -> Iterator[bytes | memoryview]:
    count = len(documents)
    yield HEADER.pack(MAGIC, VERSION, CODES[index.dtype], count, count + 1)
    for part in chunks(count):
        yield index.lengths[documents[part]].data
    for part in chunks(count):
        yield index.pointers[documents[part]].data
    for part in chunks(count + 1):
        yield np.arange(part.start, part.stop, dtype="<i8").data
