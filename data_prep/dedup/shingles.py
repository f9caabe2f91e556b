"""The word n-grams of texts, as 64-bit hashes: what two documents share is measured in them.

A word is a run of letters, digits and marks, without case and diacritics; numbers stay as they are, since decisions
differ in them. Scripts that are written without spaces count each character as a word. A text with fewer words than n
has one shingle, of all its words.
"""

import functools
import unicodedata
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from data_prep.dedup.hashes import coefficients, mixed

Hashes = NDArray[np.uint64]

_SCANNED = 0x20000  # above lie ideographs and, to the end, no letters
_WITHOUT_SPACES = (
    (0x0E00, 0x0F00),  # Thai, Lao
    (0x1000, 0x10A0),  # Myanmar
    (0x1780, 0x1800),  # Khmer
    (0x3040, 0x3100),  # kana
    (0x3400, 0xA000),  # ideographs, also below
    (0xF900, 0xFB00),
    (0x20000, 0x40000),
)
_RUN, _SINGLE = np.uint64(1), np.uint64(2)  # the two lowest bits of a character's value; 0: not part of a word
_BASE = 0x9E3779B97F4A7C15  # odd, so that its powers can be undone modulo 2**64


def shingles(texts: Sequence[str], size: int) -> tuple[Hashes, NDArray[np.int64]]:
    """Hashes of the `size`-word shingles of each text, text after text, repeats included; and their number per text.

    Memory: about 60 bytes per character of all `texts`.
    """
    starts, words = _words(texts)
    ends = np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)) + 1)
    stops = np.searchsorted(starts, ends)
    counts = np.diff(stops, prepend=0)
    windows = np.zeros(len(words), np.uint64)
    factors = coefficients(size, stream=1)
    for place, factor in enumerate(factors):
        windows[: max(len(words) - place, 0)] += words[place:] * factor
    whole = np.ones(len(words), bool)
    for place in range(1, size):
        whole[stops[counts >= place] - place] = False
    short = (counts > 0) & (counts < size)
    begins = (stops - counts)[short]
    windows[begins] = _short(words, begins, counts[short], factors)
    whole[begins] = True
    return mixed(windows[whole]), np.maximum(counts - size + 1, counts > 0)


def _short(words: Hashes, begins: NDArray[np.int64], counts: NDArray[np.int64], factors: Hashes) -> Hashes:
    """The one shingle of each text that has fewer words than a shingle."""
    places = np.arange(len(factors))
    inside = places < counts[:, None]
    chosen = words[np.where(inside, begins[:, None] + places, 0)] if len(begins) else np.zeros(inside.shape, np.uint64)
    return np.asarray(np.where(inside, chosen * factors, np.uint64(0)).sum(axis=1, dtype=np.uint64))


def _words(texts: Sequence[str]) -> tuple[NDArray[np.int64], Hashes]:
    """Where the words of all texts begin in the texts joined by newlines, and each word's hash.

    The hash of characters c is the sum of value[c[i]] * base**i modulo 2**64: a difference of prefix sums.
    """
    joined = "\n".join(["", *texts, ""]).encode("utf-32-le", "surrogatepass")
    values = _values().take(np.frombuffer(joined, np.uint32))
    kinds = values & np.uint64(3)
    run, single = kinds == _RUN, kinds == _SINGLE
    starts = np.flatnonzero(single[1:] | (run[1:] & ~run[:-1])) + 1
    ends = np.flatnonzero(single[:-1] | (run[:-1] & ~run[1:]))
    values *= _powers(_BASE, len(values))
    sums = np.cumsum(values)
    return starts - 1, (sums[ends] - sums[starts - 1]) * _powers(pow(_BASE, -1, 2**64), len(values))[starts]


def _powers(base: int, count: int) -> Hashes:
    """base**0 … base**(count - 1) modulo 2**64; lengths are rounded up, so that few tables are made."""
    return _power_table(base, max(count - 1, 1).bit_length())[:count]


@functools.lru_cache(maxsize=4)
def _power_table(base: int, bits: int) -> Hashes:
    factors = np.full(2**bits, base & (2**64 - 1), np.uint64)
    factors[0] = 1
    return np.multiply.accumulate(factors)


@functools.cache
def _values() -> Hashes:
    """Per code point: a random value that ends in its kind. Characters that fold to one letter have one value."""
    folded = np.arange(0x110000, dtype=np.uint64)
    kinds = np.zeros(0x110000, np.uint64)
    for point in range(_SCANNED):
        character = chr(point)
        if unicodedata.category(character)[0] in "LNM":
            folded[point] = ord(_fold(character))
            kinds[point] = _RUN
    for first, last in _WITHOUT_SPACES:
        spaced = (first < _SCANNED) & (kinds[first:last] == 0)
        kinds[first:last] = np.where(spaced, 0, _SINGLE)
    return coefficients(0x110000, stream=2)[folded] & ~np.uint64(3) | kinds


def _fold(character: str) -> str:
    """Without case and diacritics; by way of the capital, so that ı, which I becomes in Turkish, is i."""
    return unicodedata.normalize("NFKD", character.upper().casefold())[0]
