"""Documents that are equal to an earlier one, over all parts, by their content digests.

Scratch on disk: 17 bytes per document (a record of 16 and a mark of 1): 4.25 GB for 250 million documents.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_prep.dedup.external import BucketWriter, bucket_bits, read_bucket
from data_prep.dedup.parts import Positions, first_positions, mapped_zeros, open_rows, write_masks

_BLOCK = 1 << 20  # digests read at a time


def duplicates(digest_files: Sequence[Path], scratch: Path, memory: int) -> list[Path]:
    """Which documents have the digest of an earlier document, in the order of the files and of their rows.

    Args:
        digest_files: .npy, uint64 [documents], one per part.
        scratch: a folder for working files and the masks; what is there already is removed, never read.
        memory: bytes.

    Returns:
        one .npy file per part, bool [documents].

    Raises:
        UserError: the disk is full.
    """
    shutil.rmtree(scratch, ignore_errors=True)
    firsts = first_positions(digest_files)
    records = scratch / "records"
    bits = bucket_bits(int(firsts[-1]), memory)
    with BucketWriter(records, bits, memory // 2) as writer:
        for file, first in zip(digest_files, firsts[:-1], strict=True):
            digests = open_rows(file)
            for start in range(0, len(digests), _BLOCK):
                block = np.array(digests[start : start + _BLOCK], np.uint64)
                writer.add(block, first + start + np.arange(len(block)))
    masks = write_masks(scratch / "masks", firsts, _marks(records, bits, firsts))
    shutil.rmtree(records)
    return masks


def _marks(records: Path, bits: int, firsts: Positions) -> NDArray[np.bool_]:
    """True at the position of each record whose key an earlier record has."""
    marks = mapped_zeros(records / "marks", int(firsts[-1]), np.bool_)
    for bucket in range(1 << bits):
        keys, positions = read_bucket([records], bucket).T
        marks[positions[1:][keys[1:] == keys[:-1]].astype(np.int64)] = True
    return marks
