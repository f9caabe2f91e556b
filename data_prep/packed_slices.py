"""A slice of a best-fit phase: of the documents that it was given, as many as fill its samples exactly.

A slice is cut by tokens, which are always more than its samples hold: s samples need more than s · L tokens, and packs
have padding too. So packing it takes documents, those read least often first and otherwise at random, for as long as
their packs number at most the samples; the rest was not read and is first in line for the next phase.
"""

import numpy as np
from numpy.typing import NDArray

from data_prep.packing import Packs, pack
from data_prep.permutation import seed_of
from data_prep.slices import Cursor, Slice, Stream, settled


def pack_slice(stream: Stream, before: Cursor, piece: Slice, sequence_length: int) -> tuple[Slice, Cursor, Packs]:
    """The documents of `piece` that are read, the cursor after them, and their packs, exactly `piece.samples`.

    Args:
        before: the cursor that `piece` was taken from.

    Returns:
        `Packs.documents` are places in `Slice.documents`. Of the last of these the end may stay unread, if it is longer
        than a sequence; all others are in the packs whole.
    """
    seed = seed_of(f"{stream.seed}/{stream.name}/packs") % 2**32
    order, times = _by_readings(before, piece.documents, seed)
    packs = pack(stream.lengths[order], sequence_length, seed, piece.samples)
    read, tokens = order[: packs.used], int(stream.lengths[order[: packs.used]].sum(dtype=np.int64))
    readings = before.readings + np.bincount(read, minlength=len(before.readings)).astype(np.uint8)
    after = settled(stream, before._replace(readings=readings), tokens)
    return Slice(read, tokens, packs.samples, int((times[: packs.used] > 0).sum())), after, packs


def _by_readings(
    before: Cursor, documents: NDArray[np.int32], seed: int
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """`documents` in a random order, but each after all that were read less often; and how often each was read."""
    mixed = documents[np.random.RandomState(seed).permutation(len(documents))]
    by_number = np.argsort(mixed, kind="stable")
    first = np.searchsorted(mixed[by_number], mixed[by_number])  # where the same document is met first
    times = np.empty(len(mixed), np.int64)
    times[by_number] = np.arange(len(mixed)) - first + before.epoch + before.readings[mixed[by_number]]
    order = np.argsort(times, kind="stable")
    return mixed[order], times[order]
