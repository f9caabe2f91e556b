"""Word n-grams as 64-bit hashes: texts in, arrays out, at the speed of numpy.

Words are normalised as in the contamination study of GPT-3 (Brown et al. 2020, appendix C): lower case, punctuation and
white space do not count. Three rules are ours. The four letters I, ı, İ and i are one, so that no text depends on which
language's rule lowered it. Punctuation ends a word, for scanned text loses the space behind it; apostrophes do not
("Kanun'un" is one word). A character of a script without spaces is a word.

Hashes are polynomials modulo 2⁶⁴ over random values of characters, then of words, each with a final mix. They are the
same on every machine.
"""

import functools
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]

_BLOCK = 1 << 16  # characters hashed at a time: their arrays stay in the processor's cache
_CODE_POINTS = 0x40000  # beyond lie tags and private use
_NO_WORD, _IN_WORD, _WORD = 0, 1, 2  # what a character is: between words, part of one, one by itself
# Apostrophes, the soft hyphen, and the dot that lower-casing İ leaves above an i.
_DELETED = ("'", "’", "ʼ", "\u00ad", "\u0307")
# Thai and Lao, Myanmar, Khmer, kana, Han and its extensions.
_WITHOUT_SPACES = ((0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x3005, 0x30FF), (0x3400, 0x9FFF),
                   (0xF900, 0xFAFF), (0x20000, 0x3FFFF))  # fmt: skip
_CHARACTER_BASE = 0x9E3779B97F4A7C15  # odd, so that it has an inverse modulo 2⁶⁴
_WORD_BASE = 0xD1342543DE82EF95


class Words(NamedTuple):
    """The words of a batch of texts, one text after the other."""

    hashes: Hashes  # [words]
    text: NDArray[np.int64]  # [words], the number of the text that a word is from


class Windows(NamedTuple):
    """All n-grams of a batch of texts; none crosses from one text into the next."""

    hashes: Hashes  # [n-grams]
    start: NDArray[np.int64]  # [n-grams], the number of the first word in the batch


def hash_words(texts: Sequence[str]) -> Words:
    """Normalise and hash the words of `texts`. Takes memory for the result and for copies of a text."""
    hashes, owners = [np.empty(0, np.uint64)], [np.empty(0, np.int64)]
    for block, numbers, ends in _blocks(texts):
        code_points = _code_points(block)
        starts, stops = _edges(code_points)
        hashes.append(_hash_spans(code_points, starts, stops))
        owners.append(np.array(numbers)[np.searchsorted(ends, starts, side="right")])
    return Words(np.concatenate(hashes), np.concatenate(owners))


def windows(words: Words, n: int) -> Windows:
    """The n-grams of every text; a text of fewer than n words has none."""
    rolled = _roll(words.hashes, n)
    start = np.flatnonzero(words.text[: len(rolled)] == words.text[n - 1 :])
    return Windows(_mix(rolled[start] + np.uint64(n)), start)


def excerpt(text: str, first: int, count: int) -> str:
    """`count` words of `text` from word `first` on, as they stand there; apostrophes are left out."""
    text = _without_deleted(text)
    starts, stops = _edges(_code_points(text))
    return text[starts[first] : stops[first : first + count][-1]]


def _blocks(texts: Sequence[str]) -> Iterator[tuple[str, list[int], list[int]]]:
    """Pieces of texts joined to about one block each: the block, the pieces' text numbers, the pieces' ends in it."""
    pieces: list[str] = []
    numbers: list[int] = []
    ends: list[int] = []
    length = 0
    for number, piece in _pieces(texts):
        pieces.append(piece)
        numbers.append(number)
        length += len(piece) + 1
        ends.append(length)
        if length >= _BLOCK:
            yield "\n".join(pieces), numbers, ends
            pieces, numbers, ends, length = [], [], [], 0
    if pieces:
        yield "\n".join(pieces), numbers, ends


def _pieces(texts: Iterable[str]) -> Iterator[tuple[int, str]]:
    """Texts with their numbers, long ones cut at a space or, where a block has none, anywhere."""
    for number, text in enumerate(texts):
        text = _without_deleted(text)
        start = 0
        while len(text) - start > _BLOCK:
            space = max(text.rfind(" ", start, start + _BLOCK), text.rfind("\n", start, start + _BLOCK))
            stop = space if space > start else start + _BLOCK
            yield number, text[start:stop]
            start = stop
        yield number, text[start:]


def _without_deleted(text: str) -> str:
    for character in _DELETED:
        text = text.replace(character, "")
    return text


def _code_points(text: str) -> NDArray[np.int32]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.int32)


def _edges(code_points: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where words start and where they stop, [words] each."""
    kind = np.zeros(len(code_points) + 2, np.uint8)
    kind[1:-1] = _tables()[0].take(code_points, mode="clip")
    word = kind != _NO_WORD
    boundary = (kind[1:] & kind[:-1]) != _IN_WORD  # between two neighbours
    return np.flatnonzero(word[1:] & boundary), np.flatnonzero(word[:-1] & boundary)


def _hash_spans(code_points: NDArray[np.int32], starts: NDArray[np.int64], stops: NDArray[np.int64]) -> Hashes:
    """Σ value(character) · base^position in the word, mixed, from one prefix sum over the block."""
    powers, inverses = _powers()
    sums = np.zeros(len(code_points) + 1, np.uint64)
    np.cumsum(_tables()[1].take(code_points, mode="clip") * powers[: len(code_points)], out=sums[1:])
    return _mix((sums[stops] - sums[starts]) * inverses[starts])


def _roll(hashes: Hashes, n: int) -> Hashes:
    """Σ hash(word) · base^(n - 1 - position) of every n words in a row, in 2 log n passes."""
    if len(hashes) < n:
        return hashes[:0]
    if n == 1:
        return hashes
    half = _roll(hashes, n // 2)
    power = np.uint64(pow(_WORD_BASE, n // 2, 2**64))
    pairs = half[: len(half) - n // 2] * power + half[n // 2 :]
    return pairs if n % 2 == 0 else pairs[:-1] * np.uint64(_WORD_BASE) + hashes[n - 1 :]


def _mix(values: Hashes) -> Hashes:
    """The finaliser of SplitMix64 (Steele et al. 2014): every bit of the input changes half of the output's."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


@functools.cache
def _powers() -> tuple[Hashes, Hashes]:
    """Powers of the base, and of its inverse, modulo 2⁶⁴, for every position in a block."""
    bases = (_CHARACTER_BASE, pow(_CHARACTER_BASE, -1, 2**64))
    one = np.ones(1, np.uint64)
    powers, inverses = (np.cumprod(np.append(one, np.full(2 * _BLOCK, base, np.uint64))) for base in bases)
    return powers, inverses


@functools.cache
def _tables() -> tuple[NDArray[np.uint8], Hashes]:
    """For every code point: what it is, and its value, the same for both cases of a letter. 2.4 MB, made in 0.1 s."""
    kind = np.zeros(_CODE_POINTS, np.uint8)
    folded = np.zeros(_CODE_POINTS, np.uint64)
    for code_point in range(_CODE_POINTS):
        character = chr(code_point)
        if unicodedata.category(character)[0] in "LMN":
            kind[code_point] = _IN_WORD
            lower = "i" if character in "Iıİ" else character.lower()
            folded[code_point] = ord(lower) if len(lower) == 1 else code_point
    for first, last in _WITHOUT_SPACES:
        kind[first : last + 1] *= _WORD
    return kind, np.where(kind == _NO_WORD, np.uint64(0), _mix(folded + np.uint64(_CHARACTER_BASE)))
