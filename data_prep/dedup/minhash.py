"""MinHash signatures: a few hundred bytes per document, from which the Jaccard similarity of two is estimated.

Sketches are Fast Similarity Sketching (Dahlgaard, Knudsen, Thorup 2017, https://arxiv.org/abs/1704.04370): in each
round every shingle throws one value into one slot, and the first value that a slot gets, the least of its round, stays.
A text of many shingles fills its slots in a round or two, where k independent permutations cost k hashes per shingle.
On disk a slot keeps one byte (b-bit minwise hashing, Li and König 2010, https://arxiv.org/abs/0910.3349), so a
signature takes `permutations` bytes. Two unlike slots then agree once in 256 times, which the estimate takes out.

The standard error of an estimate of J from k slots is sqrt(J (1 - J) / k) for documents of many shingles, as with k
permutations, and less for those of few: measured at J = 0.8 and k = 256 it is 0.024 for two documents of 20,000
shingles together and 0.018 for 300. Pairs within two such errors of the threshold may fall on either side of it.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from data_prep.dedup.hashes import coefficients
from data_prep.dedup.shingles import shingles
from recipes.schema import Strict

Signatures = NDArray[np.uint8]

RECALL = 0.95  # of pairs exactly at the threshold, that the bands find
NO_WORDS = 255  # fills the signature of a text without words; such a text is nobody's near-duplicate
_BATCH = 1 << 18  # characters: arrays of this size stay in a core's cache
_ROUNDS = 32  # in which shingles throw at random; slots that are still empty then ask every shingle
_EMPTY = np.uint32(0xFFFFFFFF)
_MULTIPLIER = np.uint64(0xD6E8FEB86659FD93)
_VALUE_BITS = 26  # of a sketch's slot; the round is above them, so that less is earlier


class NearDuplicates(Strict):
    """Which documents count as near-duplicates."""

    jaccard: float = Field(0.8, ge=0.5, le=1)  # of the sets of shingles; estimates from here on are near-duplicates
    shingle: int = Field(5, ge=1, le=100)  # words
    permutations: int = Field(256, ge=64, le=4096)  # slots, a byte each per document


def bands(options: NearDuplicates) -> tuple[int, int]:
    """(bands, rows): documents that agree in all rows of some band are compared.

    As many rows as the slots allow, which spares comparisons, and then the fewest bands by which a pair at the
    threshold is found with a probability 1 - (1 - jaccard**rows)**bands of at least RECALL.
    """
    for rows in range(options.permutations, 0, -1):
        for count in range(1, options.permutations // rows + 1):
            if 1 - (1 - options.jaccard**rows) ** count >= RECALL:
                return count, rows
    raise AssertionError(f"{options}: one row always suffices from a threshold of 0.5 and 64 permutations on")


def signatures(texts: Sequence[str], options: NearDuplicates) -> Signatures:
    """uint8 [texts, permutations]. A text's signature depends on that text alone."""
    slots = np.full((len(texts), options.permutations), _EMPTY, np.uint32)
    for numbers, pieces in _batches(texts):
        hashes, counts = shingles(pieces, options.shingle)
        np.minimum.at(slots, numbers, _sketch(hashes, counts, options.permutations))
    return slots.astype(np.uint8)


def estimates(left: Signatures, right: Signatures) -> NDArray[np.float64]:
    """Estimated Jaccard similarity of each row of `left` and the same row of `right`, float64 [rows]."""
    chance = 1 / 256
    return np.asarray(((left == right).mean(axis=1) - chance) / (1 - chance))


def band_keys(signature: Signatures, options: NearDuplicates) -> NDArray[np.uint64]:
    """A 64-bit hash of each band, uint64 [documents, bands]; equal bands of two places have different keys."""
    count, rows = bands(options)
    factors = coefficients(count * rows, stream=3)
    return np.asarray((signature[:, : count * rows] * factors).reshape(-1, count, rows).sum(axis=2, dtype=np.uint64))


def _batches(texts: Sequence[str]) -> Iterator[tuple[list[int], list[str]]]:
    """(numbers of texts, pieces of them) of about _BATCH characters together; only a longer text is cut.

    The sketch of a text is the least of its pieces' sketches, short of the shingles over a cut.
    """
    numbers: list[int] = []
    pieces: list[str] = []
    size = 0
    for number, text in enumerate(texts):
        for start in range(0, len(text), _BATCH):
            numbers.append(number)
            pieces.append(text[start : start + _BATCH])
            size += len(pieces[-1])
            if size >= _BATCH:
                yield numbers, pieces
                numbers, pieces, size = [], [], 0
    if pieces:
        yield numbers, pieces


def _sketch(hashes: NDArray[np.uint64], counts: NDArray[np.int64], size: int) -> NDArray[np.uint32]:
    """The slots of each text, uint32 [texts, size], from its shingles' hashes; _EMPTY for a text without any."""
    slots = np.full((len(counts), size), _EMPTY, np.uint32)
    open_texts = counts > 0
    rows = np.repeat(np.arange(len(counts)), counts)
    for number, seed in enumerate(coefficients(_ROUNDS, stream=4)):
        thrown = _thrown(hashes, seed)
        places = (thrown & np.uint64(0xFFFFFFFF)) * np.uint64(size) >> np.uint64(32)
        np.minimum.at(slots.reshape(-1), rows * size + places.view(np.int64), _values(thrown, number))
        still = (slots == _EMPTY).any(axis=1) & open_texts
        if not still.any():
            return slots
        if still.sum() < open_texts.sum():
            hashes, rows, open_texts = hashes[still[rows]], rows[still[rows]], still
    _fill(slots, hashes, np.where(open_texts, counts, 0))
    return slots


def _thrown(hashes: NDArray[np.uint64], seeds: NDArray[np.uint64] | np.uint64) -> NDArray[np.uint64]:
    """Another hash per seed; two multiplications do, since shingles are well mixed already."""
    result = hashes * seeds
    result ^= result >> np.uint64(32)
    result *= _MULTIPLIER
    return result


def _values(thrown: NDArray[np.uint64], number: int) -> NDArray[np.uint32]:
    return (thrown >> np.uint64(64 - _VALUE_BITS)).astype(np.uint32) | np.uint32(number << _VALUE_BITS)


def _fill(slots: NDArray[np.uint32], hashes: NDArray[np.uint64], counts: NDArray[np.int64]) -> None:
    """Give each slot that is still empty the least value, by that slot's own hash, of its text's shingles."""
    rows, places = np.nonzero((slots == _EMPTY) & (counts > 0)[:, None])
    sizes = counts[rows]
    begins = np.cumsum(sizes) - sizes
    members = np.arange(sizes.sum()) + np.repeat((np.cumsum(counts) - counts)[rows] - begins, sizes)
    seeds = coefficients(slots.shape[1], stream=5)[places]
    values = _values(_thrown(hashes[members], np.repeat(seeds, sizes)), _ROUNDS)
    slots[rows, places] = np.minimum.reduceat(values, begins)
