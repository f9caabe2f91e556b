"""The step `morphology`: does the text inflect like Turkish, and does it say more than a few words?

The cleaning chain reported of the Mecellem models (arXiv 2601.16018) asks for a suffix entropy above 75 % and a lemma
diversity above 50 %, by Zemberek; neither is defined in public. Here a text is cut into windows of 50 words (words: two
letters or more, in Turkish lower case), of which at most 20, evenly spread, are looked at, and each measure is their
mean, so that neither depends on the length of the document:

- suffix entropy: each different word of a window ends in one suffix, which is the word less the beginning that it
  shares with its lemma, or what follows an apostrophe; none is a suffix too. The Shannon entropy of these suffixes,
  divided by the logarithm of how many different ones there are (Pielou's evenness, 1966).
- lemma diversity: different lemmas of a window, divided by its words.

Lemmas come from simplemma 2.0's Turkish dictionary, which lies in its wheel (Barbaresi, adbar/simplemma).
Snowball's Turkish stemmer is 3 times as fast but leaves verbs alone, and tells inflected text from bare lemmas less
well; zeyrek, a port of Zemberek, reads 230 words a second, simplemma 300,000.

Measured, in per cent; of each kind the 1st, 50th and 99th percentile, and what the defaults drop:

    text                                  documents   entropy     diversity   dropped
    laws                                      1,050   61 75 80    51 73 82       0.8
    court decisions, criminal                 7,575   72 81 87    71 80 89       0
    court decisions, all chambers             1,296   71 82 88    64 78 88       0
    documentation in Turkish                    531   68 76 83    65 75 85       0
    single Turkish sentences                  1,755   60 71 83    81 90 97       0.2
    Turkish without its own letters             236   53 62 73    57 81 90       1.3
    8 % of the letters damaged as by OCR        236   53 64 75    70 86 95       0.8
    25 % damaged                                236   36 44 52    86 94 99        92
    laws, each word as its lemma                100    8 15 22    61 73 78       100
    advertising keywords at random               60   40 44 46    35 37 39       100
    one sentence repeated                        51   36 88 100    6 18 46       100
    English, Spanish, mathematics, Python     1,604    0 12 38    40 64 84       100

So 50 % is the default of both. A limit of 75 % on this entropy would drop 48 % of the laws, so theirs is another.
The laws that are dropped are lists: of repealed articles, of renumbered ones, of new districts.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache
from math import log2
from typing import ClassVar, NamedTuple

from pydantic import Field

from data_prep.cleaning.step import Clean, Drop, Step
from recipes.errors import UserError

_WORD = re.compile(r"[^\W\d_]{2,}(?:['’][^\W\d_]+)?")
_LOWER = str.maketrans({"I": "ı", "İ": "i", "’": "'"})
_CACHED_WORDS = 2**17  # different words kept; a process with all of them and the dictionary holds 180 MB more


class Parts(NamedTuple):
    lemma: str
    suffix: str  # may be empty


Analyse = Callable[[str], Parts]


class Morphology(Step):
    """A Turkish document below either measure goes: `morphology.suffix_entropy`, `morphology.lemma_diversity`.

    Other languages pass, and so do texts shorter than one window.
    """

    name: ClassVar[str] = "morphology"

    minimum_suffix_entropy: float = Field(0.5, ge=0, le=1)  # of the largest that as many suffixes can have
    minimum_lemma_diversity: float = Field(0.5, ge=0, le=1)  # different lemmas per word
    window_words: int = Field(50, ge=10)  # words of a window
    windows: int = Field(20, ge=1)  # windows of a document that are looked at, evenly spread over it

    def ready(self, language: str) -> Clean:
        if language != "tr":
            return lambda text: text
        analyse = lru_cache(_CACHED_WORDS)(_analyser())

        def clean(text: str) -> str | Drop:
            windows = spread(lower_words(text), self.window_words, self.windows)
            if not windows:
                return text
            entropy, diversity = measure([[analyse(word) for word in window] for window in windows])
            if entropy < self.minimum_suffix_entropy:
                return Drop("morphology.suffix_entropy")
            return Drop("morphology.lemma_diversity") if diversity < self.minimum_lemma_diversity else text

        return clean


def lower_words(text: str) -> list[str]:
    """Words of two letters or more, in Turkish lower case, with what an apostrophe adds."""
    return _WORD.findall(text.translate(_LOWER).lower())


def spread(words: Sequence[str], size: int, most: int) -> list[Sequence[str]]:
    """At most `most` windows of `size` words, evenly spread over a document; words that fill none are left out."""
    number = len(words) // size
    chosen = [index * number // most for index in range(most)] if number > most else range(number)
    return [words[index * size : (index + 1) * size] for index in chosen]


def measure(windows: Sequence[Sequence[Parts]]) -> tuple[float, float]:
    """Suffix entropy and lemma diversity, each the mean over the windows."""
    entropy = sum(map(suffix_entropy, windows)) / len(windows)
    diversity = sum(len({word.lemma for word in window}) / len(window) for window in windows) / len(windows)
    return entropy, diversity


def suffix_entropy(window: Sequence[Parts]) -> float:
    """Shannon entropy of the suffixes of the different words of a window, over its largest value; 0 for one suffix."""
    suffixes = Counter(word.suffix for word in set(window))
    if len(suffixes) < 2:
        return 0.0
    total = suffixes.total()
    return -sum(n / total * log2(n / total) for n in suffixes.values()) / log2(len(suffixes))


def _analyser() -> Analyse:
    try:
        from simplemma import lemmatize
    except ImportError as error:
        raise UserError(
            "cleaning step morphology: the package simplemma is missing; `pip install simplemma`."
        ) from error

    def analyse(word: str) -> Parts:
        name, apostrophe, suffix = word.partition("'")
        if apostrophe:
            return Parts(name, suffix)
        lemma = lemmatize(word, lang="tr")
        shared = next((at for at, (ours, its) in enumerate(zip(word, lemma, strict=False)) if ours != its), len(lemma))
        return Parts(lemma, word[shared:])

    return analyse
