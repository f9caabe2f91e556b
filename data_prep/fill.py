"""Which documents of one epoch a phase takes: in their random order, as many as fill its tokens exactly.

Documents are counted by the first bits of their keys. All bins that lie before the end of the phase are taken whole;
only the documents around that end are put in order and walked through. So time grows with the documents, and memory
with what is chosen.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from data_prep.permutation import keys, over_chunks

BIN_BITS = 12
BINS = 1 << BIN_BITS
NEIGHBOURS = 4096  # documents on either side of the end that may make it exact


class Candidates(NamedTuple):
    """The documents of a source that are next: those that were read `reading` times and are long enough."""

    lengths: NDArray[np.int32]  # [documents], tokens; 0: never read
    readings: NDArray[np.uint8]  # [documents]
    reading: int
    minimum: int  # tokens, at least 1
    seed: int  # of their order

    def mask(self, part: slice) -> NDArray[np.bool_]:
        return (self.readings[part] == self.reading) & (self.lengths[part] >= self.minimum)

    def bins(self, part: slice) -> NDArray[np.int64]:
        return (keys(self.seed, part) >> np.uint64(64 - BIN_BITS)).view(np.int64)


def fill(candidates: Candidates, enough: int, most: int) -> tuple[NDArray[np.int32], int]:
    """Take documents in order, each that keeps the sum of tokens within `most`, until it is at least `enough`.

    Where no document fits the gap that is left, one that was taken is exchanged for one that was passed over.

    Returns:
        Numbers of the documents, ascending but for those around the end, which are in order; and their tokens. The sum
        is below `enough` only if all candidates have been walked through, or thousands of them fit in no way.
    """
    tokens, count = _tokens_by_bin(candidates)
    ends = np.cumsum(tokens)
    margin = NEIGHBOURS * ends[-1] / max(1, count)
    first, last = BINS, BINS
    if ends[-1] > most:
        first = int(np.searchsorted(ends, most - margin, side="right"))
        last = min(BINS, int(np.searchsorted(ends, most + margin)) + 1)
    certain, around = _split(candidates, first, last)
    total = int(ends[first - 1]) if first else 0
    lengths = candidates.lengths[around].astype(np.int64)
    chosen = fill_in_order(lengths, enough - total, most - total)
    return np.concatenate([certain, around[chosen]]), total + int(lengths[chosen].sum())


def fill_in_order(lengths: NDArray[np.int64], enough: int, most: int) -> NDArray[np.bool_]:
    """`fill` over documents whose order is that of `lengths`: [len(lengths)], which are taken."""
    taken = first_fit(lengths, enough, most)
    missing = enough - int(lengths[taken].sum())
    return _exchange(lengths, taken, missing, missing + most - enough) if missing > 0 else taken


def first_fit(lengths: NDArray[np.int64], enough: int, most: int) -> NDArray[np.bool_]:
    """Walk `lengths` in order and take each that keeps the sum within `most`, until the sum is at least `enough`.

    Returns:
        [len(lengths)], which are taken. Each round takes the longest run of candidates that fits, so that the number of
        numpy passes does not grow with the number of documents.
    """
    taken = np.zeros(len(lengths), bool)
    position = total = 0
    while total < enough:
        candidates = position + np.flatnonzero(lengths[position:] <= most - total)
        if not len(candidates):
            break
        sums = total + np.cumsum(lengths[candidates])
        count = min(int(np.searchsorted(sums, enough)) + 1, int(np.searchsorted(sums, most, side="right")))
        taken[candidates[:count]] = True
        total = int(sums[count - 1])
        position = int(candidates[count - 1]) + 1
    return taken


def _exchange(lengths: NDArray[np.int64], taken: NDArray[np.bool_], low: int, high: int) -> NDArray[np.bool_]:
    """`taken` with one document exchanged for one that is `low` to `high` tokens longer, where there is such a pair."""
    inside, outside = np.flatnonzero(taken), np.flatnonzero(~taken)
    outside = outside[np.argsort(lengths[outside], kind="stable")]
    longer = np.append(lengths[outside], np.iinfo(np.int64).max)
    nearest = np.searchsorted(longer, lengths[inside] + low)
    pairs = np.flatnonzero(longer[nearest] <= lengths[inside] + high)
    if not len(pairs):
        return taken
    exchanged = taken.copy()
    exchanged[inside[pairs[-1]]] = False
    exchanged[outside[nearest[pairs[-1]]]] = True
    return exchanged


def _tokens_by_bin(candidates: Candidates) -> tuple[NDArray[np.float64], int]:
    """[BINS] tokens, exact as long as they are below 2⁵³; and the number of candidates."""

    def of(part: slice) -> tuple[NDArray[np.float64], int]:
        mask = candidates.mask(part)
        tokens = np.bincount(candidates.bins(part), candidates.lengths[part] * mask, BINS)
        return tokens.astype(np.float64), np.count_nonzero(mask)

    tokens: NDArray[np.float64] = np.zeros(BINS)
    count = 0
    for more, documents in over_chunks(of, len(candidates.lengths)):
        tokens += more
        count += documents
    return tokens, count


def _split(candidates: Candidates, first: int, last: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Candidates of the bins before `first`, ascending; and those of the bins from there to before `last`, in order."""

    def of(part: slice) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.uint64]]:
        mask, key = candidates.mask(part), keys(candidates.seed, part)
        bins = key >> np.uint64(64 - BIN_BITS)
        before = mask & (bins < first)
        around = mask & (bins >= first) & (bins < last)
        return _numbers(before, part), _numbers(around, part), key[around]

    certain, around, order = zip(*over_chunks(of, len(candidates.lengths)), strict=True)
    return np.concatenate(certain), np.concatenate(around)[np.argsort(np.concatenate(order))]


def _numbers(mask: NDArray[np.bool_], part: slice) -> NDArray[np.int32]:
    return (np.flatnonzero(mask) + part.start).astype(np.int32)
