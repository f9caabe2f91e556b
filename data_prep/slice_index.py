"""The .idx of a slice: documents of a shard, in any order, written and hashed piece by piece."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_prep.index_checks import chunks
from data_prep.indexed import Index, write_pieces


def write_slice_index(prefix: Path, index: Index, documents: NDArray[np.int32]) -> str:
    """Write PREFIX.idx that lists `documents` [documents of the slice], numbers in `index`; returns its sha256."""
    count = len(documents)
    lengths = (index.lengths[documents[part]] for part in chunks(count))
    pointers = (index.pointers[documents[part]] for part in chunks(count))
    return write_pieces(prefix, index.dtype, count, lengths, pointers)
