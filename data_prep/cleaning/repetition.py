"""The step `repetition`: Gopher's rules against text that repeats itself, with limits for each language (limits.py).

Source: Rae et al. 2021 (arXiv 2112.11446, table A1), read as datatrove 0.10 reads it (`gopher_repetition_filter.py`).
"""

import re
from typing import ClassVar

import numpy as np
from pydantic import NonNegativeFloat, PositiveInt

from data_prep.cleaning.limits import LINES, REPEATED_NGRAMS, TOP_NGRAMS, Ngrams
from data_prep.cleaning.step import Clean, Drop, Step
from data_prep.cleaning.words import Words, split_words

_PARAGRAPH = re.compile(r"\n{2,}")
_LINE = re.compile(r"\n+")
_BASE = np.uint64(0x9E3779B97F4A7C15)  # odd, of the polynomial over the words of an n-gram


class Repetition(Step):
    """A document beyond any of these limits goes. An option left out takes the limit of the source's language.

    Reasons: `repetition.<option>`, `repetition.top_<n>_grams`, `repetition.repeated_<n>_grams`. 1 switches a limit off,
    `{}` the n-grams.
    """

    name: ClassVar[str] = "repetition"

    max_repeated_lines: NonNegativeFloat | None = None  # share of the lines, those that came before
    max_repeated_line_characters: NonNegativeFloat | None = None  # share of the characters, those in such lines
    max_repeated_paragraphs: NonNegativeFloat | None = None  # the same of what blank lines divide
    max_repeated_paragraph_characters: NonNegativeFloat | None = None
    top_ngrams: dict[PositiveInt, NonNegativeFloat] | None = (
        None  # words -> share of the characters, those in the most frequent n-gram
    )
    repeated_ngrams: dict[PositiveInt, NonNegativeFloat] | None = (
        None  # words -> share of the characters, those in n-grams that came before
    )

    def ready(self, language: str) -> Clean:
        given = self.model_dump(exclude_none=True)
        top: Ngrams = given.pop("top_ngrams", TOP_NGRAMS.get(language, TOP_NGRAMS[""]))
        repeated: Ngrams = given.pop("repeated_ngrams", REPEATED_NGRAMS.get(language, REPEATED_NGRAMS[""]))
        limits = LINES.get(language, LINES[""]) | given

        def clean(text: str) -> str | Drop:
            broken = (
                _broken_lines(text, limits)
                or broken_top(split_words(text, language), len(text), top)
                or broken_repeated(split_words(text, language), len(text), repeated)
            )
            return Drop(f"repetition.{broken}") if broken else text

        return clean


def repeated_parts(text: str) -> dict[str, float]:
    """What the options for lines and paragraphs limit, by their names without `max_`."""
    measures: dict[str, float] = {}
    for part, pattern in (("paragraph", _PARAGRAPH), ("line", _LINE)):
        parts = pattern.split(text.strip())
        different = set(parts)
        measures[f"repeated_{part}s"] = 1 - len(different) / len(parts)
        measures[f"repeated_{part}_characters"] = (sum(map(len, parts)) - sum(map(len, different))) / max(len(text), 1)
    return measures


def _broken_lines(text: str, limits: dict[str, float]) -> str | None:
    measures = repeated_parts(text)
    return next((name for name, limit in limits.items() if measures[name[4:]] > limit), None)


def broken_top(words: Words, characters: int, limits: Ngrams) -> str | None:
    """The first limit that the most frequent n-gram exceeds, as a reason."""
    if not len(words.ids):
        return None
    # An n-gram is not more frequent than its words, so this bounds every share without looking at one.
    heaviest = int((words.counts * (words.lengths + 1)).max())
    for n, limit in limits.items():
        if n * heaviest > limit * characters and top_characters(words, n) > limit * characters:
            return f"top_{n}_grams"
    return None


def broken_repeated(words: Words, characters: int, limits: Ngrams) -> str | None:
    """The first limit that repeated n-grams exceed, as a reason."""
    if not limits:
        return None
    # Repeated n-grams lie within repeated shorter ones: where those hold little of the text, there is nothing to count.
    shortest = min(limits)
    places = _repeated_places(_hashes(words.ids, shortest))
    covered = _covered(places, shortest, len(words.ids))
    if int(words.lengths[words.ids[covered]].sum()) <= min(limits.values()) * characters:
        return None
    for n, limit in limits.items():
        if repeated_characters(words, n) > limit * characters:
            return f"repeated_{n}_grams"
    return None


def top_characters(words: Words, n: int) -> int:
    """Characters, spaces included, of all occurrences of the most frequent n-gram; of several, of the first."""
    hashes = _hashes(words.ids, n)
    if not len(hashes):
        return 0
    _, first, counts = np.unique(hashes, return_index=True, return_counts=True)
    most = int(counts.max())
    place = int(first[counts == most].min())
    return most * (int(words.lengths[words.ids[place : place + n]].sum()) + n - 1)


def repeated_characters(words: Words, n: int) -> int:
    """Characters of n-grams that came before, read from the left without overlap."""
    hashes = _hashes(words.ids, n)
    places = _repeated_places(hashes)
    ends = np.concatenate(([0], np.cumsum(words.lengths[words.ids])))
    seen: set[int] = set()
    repeated = free = 0
    spans = (ends[places + n] - ends[places]).tolist()
    for place, ngram, characters in zip(places.tolist(), hashes[places].tolist(), spans, strict=True):
        if place < free:
            continue
        if ngram in seen:
            repeated += characters
            free = place + n
        else:
            seen.add(ngram)
    return repeated


def _hashes(ids: np.ndarray, n: int) -> np.ndarray:
    """64-bit hashes of all n-grams, uint64 [words - n + 1]; two of a million different ones meet once in 10⁷ texts."""
    number = max(len(ids) - n + 1, 0)
    terms = ids.astype(np.uint64)
    hashes = np.zeros(number, np.uint64)
    for offset in range(n):
        hashes = hashes * _BASE + terms[offset : offset + number]
    return hashes


def _repeated_places(hashes: np.ndarray) -> np.ndarray:
    """Where stands an n-gram that stands elsewhere too, in order; int64."""
    ordered = np.sort(hashes)
    repeated = ordered[1:][ordered[1:] == ordered[:-1]]
    return np.flatnonzero(np.isin(hashes, repeated)) if len(repeated) else np.zeros(0, np.int64)


def _covered(places: np.ndarray, n: int, words: int) -> np.ndarray:
    """Whether each word lies within an n-gram that begins at `places`; bool [words]."""
    begins = np.zeros(words + 1, np.int64)
    begins[places] = 1
    begins[places + n] -= 1
    covered: np.ndarray = np.cumsum(begins[:-1]) > 0
    return covered
