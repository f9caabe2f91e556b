"""What the quality and repetition rules allow, per language.

Base: Gopher (Rae et al. 2021, arXiv 2112.11446, A1.1 and table A1) and FineWeb (arXiv 2406.17557). Languages:
FineWeb-2 (arXiv 2506.20920, `configs/<language>.yml` of its repository), but for what follows, which was set on real
text of these languages by reading what was dropped:

- Words. A mark is no word here and a line holds text, so shares of words and lines are not quite FineWeb-2's. With
  marks as words, its limit for words with a letter drops 84 % of a set of criminal court decisions, which are made of
  dates and article numbers. 35 words instead of 50, because Turkish says in 35 words what takes English 50.
- English n-grams: a word problem says `times as many` four times in fifty words; Gopher's limits drop a tenth of them.
- Turkish: FineWeb-2's other limits drop 19 and 28 % of two sets of decisions and 28 % of the laws. A decision has a
  heading of short lines without full stops, names replaced by `...`, and set phrases; a law repeats itself from article
  to article. The limits here drop 18 of 1,054 laws (lists of villages, posts and tariffs; laws of which only the
  numbers of repealed articles are left) and 6 of 8,873 decisions (more `...` than text).
- Ends of lines: FineWeb's 0.12 for all but Turkish; FineWeb-2 asks 0.3 of Spanish, which drops specifications.
- No maximum of words (Gopher: 100,000): long documents are what a long-context phase is made of.
- Chinese: every ideograph is a word; n-grams are 1.6 times as long as FineWeb-2's over words.
- Code: only documents that are mostly one repeated line or phrase are dropped.
"""

from math import inf

Ngrams = dict[int, float]  # n -> the largest share of the characters

_BASE: dict[str, float] = {
    "min_words": 35,
    "max_words": inf,
    "min_word_length": 3,
    "max_word_length": 10,
    "max_hashes": 0.1,
    "max_ellipses": 0.1,
    "max_bullet_lines": 0.9,
    "max_ellipsis_lines": 0.3,
    "min_alphabetic_words": 0.7,
    "min_stop_words": 2,
    "min_punctuated_lines": 0.12,
    "max_short_lines": inf,  # FineWeb: 0.67; off in FineWeb-2
    "max_lines_per_word": 0.3,
}
_OFF = {name: inf if name.startswith("max") else 0 for name in _BASE}

QUALITY: dict[str, dict[str, float]] = {
    "": _BASE | {"min_word_length": 2, "max_word_length": 15},  # a language without limits of its own
    "tr": _BASE
    | {
        "max_word_length": 12,
        "max_ellipses": 0.2,
        "min_stop_words": 1,
        "min_punctuated_lines": 0,
        "max_lines_per_word": 0.273,
    },
    "en": _BASE,
    "es": _BASE | {"max_word_length": 14, "max_lines_per_word": 0.171},
    "ar": _BASE | {"min_word_length": 2, "max_word_length": 9, "max_lines_per_word": 0.189},
    "ru": _BASE | {"max_word_length": 11, "max_lines_per_word": 0.139},
    "zh": _BASE | {"min_word_length": 1, "max_word_length": 5, "max_lines_per_word": 0.11},
    "code": _OFF,
}

STOP_WORDS = {  # with spaces between
    "tr": "ve bir bu ile için olan olarak da de tarafından sonra en daha ilk her gibi kadar ise ancak veya ya "
    "ki göre üzere hakkında dair ilişkin değil olduğu ne o çok",
    "en": "the of and to in a is that for it as was with on be at by this have are",
    "es": "de la en el y a que del los se por un con una las su",
    "ar": "في من على إلى عام أن مع أو هو عن التي كان بين ما كانت هي بعد",
    "ru": "в и на с по из был к не от что за для его как а он также до после",
    "zh": "的 年 在 是 和 月 日 了 於 為 有 被 人 中 为 他 與 後 也 而 由",
}

_LINES: dict[str, float] = {
    "max_repeated_lines": 0.3,
    "max_repeated_line_characters": 0.1,  # FineWeb-2; Gopher: 0.2
    "max_repeated_paragraphs": 0.3,
    "max_repeated_paragraph_characters": 0.2,
}
LINES: dict[str, dict[str, float]] = {
    "": _LINES,
    "tr": dict.fromkeys(_LINES, 0.5) | {"max_repeated_line_characters": 0.2},
    "code": dict.fromkeys(_LINES, 0.8),
}
_GOPHER_TOP: Ngrams = {2: 0.20, 3: 0.18, 4: 0.16}
TOP_NGRAMS: dict[str, Ngrams] = {
    "": _GOPHER_TOP,
    "en": {2: 0.25, 3: 0.24, 4: 0.22},
    "es": {2: 0.077, 3: 0.097, 4: 0.112},
    "ar": {2: 0.197, 3: 0.172, 4: 0.146},
    "ru": {2: 0.184, 3: 0.164, 4: 0.146},
    "zh": {3: 0.256, 5: 0.201, 6: 0.171},
    "code": {4: 0.5},
}
REPEATED_NGRAMS: dict[str, Ngrams] = {
    "": {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10},
    "tr": {5: 0.40, 6: 0.38, 7: 0.36, 8: 0.34, 9: 0.32, 10: 0.30},
    "en": {5: 0.25, 6: 0.24, 7: 0.23, 8: 0.22, 9: 0.21, 10: 0.20},
    "es": {5: 0.152, 6: 0.137, 7: 0.123, 8: 0.114, 9: 0.107, 10: 0.099},
    "ar": {5: 0.165, 6: 0.153, 7: 0.142, 8: 0.131, 9: 0.12, 10: 0.109},
    "ru": {5: 0.168, 6: 0.156, 7: 0.145, 8: 0.133, 9: 0.121, 10: 0.109},
    "zh": {8: 0.198, 10: 0.182, 11: 0.167, 13: 0.154, 14: 0.14, 16: 0.127},
    "code": {10: 0.5},
}
