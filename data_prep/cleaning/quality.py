"""The step `quality`: the document rules of Gopher and FineWeb, with limits for each language (limits.py).

Sources: Rae et al. 2021 (arXiv 2112.11446, section A1.1) and Penedo et al. 2024 (arXiv 2406.17557, section 3.6), read
as datatrove 0.10 reads them (`gopher_quality_filter.py`, `fineweb_quality_filter.py`). datatrove cannot be installed
here (it needs numpy 2 and huggingface-hub 1); given the same words it decides alike, as a test shows, but for this:

- Blank lines are not lines here, nor has a text of fewer than 5 lines shares of them.
- A sentence may end in a quotation mark or bracket, a bullet `-` is followed by a space (Spanish and Turkish speech
  begins with a bare one), and the number signs of Markdown headings do not count.
- Stop words count in capitals too: so are headings and old laws written.
"""

import re
from collections.abc import Callable
from math import nan
from typing import ClassVar

import numpy as np
from pydantic import NonNegativeFloat

from data_prep.cleaning.limits import QUALITY, STOP_WORDS
from data_prep.cleaning.step import Clean, Drop, Step
from data_prep.cleaning.words import Words, split_words

FEW_LINES = 5  # of fewer lines, shares say nothing
SHORT_LINE = 30  # characters; FineWeb
TERMINAL = tuple(".!?؟۔。！？．｡‼⁇⁈⁉‽")  # ends of sentences in the scripts that have limits; FineWeb
CLOSING = " \"'”’»)]*_"  # may follow the end of a sentence
_HEADING = re.compile("^#+(?= )", re.MULTILINE)


class Quality(Step):
    """A document outside any of these limits goes, under the reason `quality.<option>`.

    An option left out takes the limit of the source's language. 0 switches a minimum off, `.inf` a maximum.
    """

    name: ClassVar[str] = "quality"

    min_words: NonNegativeFloat | None = None  # words
    max_words: NonNegativeFloat | None = None
    min_word_length: NonNegativeFloat | None = None  # characters, the mean over all words
    max_word_length: NonNegativeFloat | None = None
    max_hashes: NonNegativeFloat | None = None  # number signs per word
    max_ellipses: NonNegativeFloat | None = None  # ellipses per word
    max_bullet_lines: NonNegativeFloat | None = None  # share of the lines, those that start with • or -
    max_ellipsis_lines: NonNegativeFloat | None = None  # share of the lines, those that end in an ellipsis
    min_alphabetic_words: NonNegativeFloat | None = None  # share of the words, those with a letter
    min_stop_words: NonNegativeFloat | None = None  # different ones
    min_punctuated_lines: NonNegativeFloat | None = None  # share of the lines, those that end like a sentence
    max_short_lines: NonNegativeFloat | None = None  # share of the lines, those of at most 30 characters
    max_lines_per_word: NonNegativeFloat | None = None  # lines per word
    stop_words: list[str] | None = None  # as they are written in running text

    def ready(self, language: str) -> Clean:
        limits = QUALITY.get(language, QUALITY[""]) | self.model_dump(exclude_none=True, exclude={"stop_words"})
        listed = STOP_WORDS.get(language, "").split() if self.stop_words is None else self.stop_words
        stop_words = frozenset(form for word in listed for form in (word, word.capitalize(), _upper(word, language)))
        if not stop_words:
            limits["min_stop_words"] = 0

        def clean(text: str) -> str | Drop:
            broken = first_broken(limits, measure(text, split_words(text, language), stop_words))
            return Drop(f"quality.{broken}") if broken else text

        return clean


def first_broken(limits: dict[str, float], measures: dict[str, float]) -> str | None:
    """The first of the limits `min_<measure>` and `max_<measure>` that does not hold."""
    for name, limit in limits.items():
        value = measures[name[4:]]
        if value < limit if name.startswith("min_") else value > limit:
            return name
    return None


def measure(text: str, words: Words, stop_words: frozenset[str]) -> dict[str, float]:
    """What the options of `Quality` limit, by their names without `min_` and `max_`. Blank lines are not lines."""
    lines = [line for line in text.split("\n") if line and not line.isspace()]
    number = len(words.ids)
    total = max(number, 1)
    alphabetic = np.fromiter(map(_has_letter, words.vocabulary), bool, len(words.vocabulary))
    return {
        "words": number,
        "word_length": int(words.counts @ words.lengths) / total,
        "hashes": _hashes(text) / total,
        "ellipses": (text.count("...") + text.count("…")) / total,
        "bullet_lines": _share(lines, lambda line: line.lstrip().startswith(("•", "- "))),
        "ellipsis_lines": _share(lines, lambda line: line.rstrip().endswith(("...", "…"))),
        "alphabetic_words": int(words.counts[alphabetic].sum()) / total,
        "stop_words": len(stop_words.intersection(words.vocabulary)),
        "punctuated_lines": _share(lines, lambda line: line.rstrip(CLOSING).endswith(TERMINAL)),
        "short_lines": _share(lines, lambda line: len(line) <= SHORT_LINE),
        "lines_per_word": len(lines) / total,
    }


def _has_letter(word: str) -> bool:
    return word.isalpha() or any(map(str.isalpha, word))


def _upper(word: str, language: str) -> str:
    return (word.replace("i", "İ") if language == "tr" else word).upper()


def _hashes(text: str) -> int:
    """Number signs, but for the headings of Markdown."""
    return text.count("#") - sum(map(len, _HEADING.findall(text))) if "#" in text else 0


def _share(lines: list[str], holds: Callable[[str], bool]) -> float:
    return sum(map(holds, lines)) / len(lines) if len(lines) >= FEW_LINES else nan
