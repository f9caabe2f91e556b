"""Words that were broken at the end of a line become whole: "mah-⏎keme" is "mahkeme".

Whether the hyphen was the printer's or belongs to the word ("sosyo-ekonomik") is judged by the rest of the document:

1. written as one word elsewhere: joined;
2. written with the hyphen elsewhere: the hyphen stays, the line break goes;
3. both halves are words of their own elsewhere, or the second is and the first is a combining form such as "sosyo":
   the hyphen stays;
4. nothing is known: joined, since most broken words are forms that a text holds once.

Only a lower-case continuation is joined, so dashes of lists and of headings ("fıkra iki-⏎(18/1/1972 ...)") stay, and
capitals are joined to capitals only under rule 1. Where a blank line or a space stands between the halves ("iti -⏎
baren"), as around the pages of a scan, only rule 1 joins. Lines keep their places, the second half moves up; only a
blank line between the halves, or one inside a paragraph that is one long line, goes.
"""

import re
from collections.abc import Iterator
from typing import ClassVar, NamedTuple

from data_prep.cleaning.step import Clean, Step
from data_prep.cleaning.unicode import DOTTED

_COMBINING = re.compile(
    "anti|avro|bio|eko|elektro|etno|euro|fizyo|hidro|inter|jeo|kontra|kripto|makro|mega|meta|mikro|multi|neo|nöro|non|"
    "oto|para|politiko|post|pre|pro|psiko|self|semi|sosyo|süper|tekno|tele|termo|trans|ultra|yarı"
)
_BREAK = re.compile(r"[-‐¬](?<=[^\W\d_].|[ '’].)[ \t]*\n(?P<blank>\s*\n)?[ \t]*(?P<right>[^\W\d_]+)")
_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")
_COLUMNS = re.compile(r"[^\W\d_]- ")  # the heads of a table, broken side by side
_BLANK = re.compile(r"\s")
_LEFT = re.compile(r"[^\W\d_]+['’]?\Z")
_LONGEST_WORD = 60  # characters
_LONGEST_LINE = 150  # characters; what is longer is a paragraph
_SHORTEST_WORD = 4  # letters of a second half that stands alone: a shorter one is a suffix ("kimse-ye")


class Hyphenation(Step):
    """Changes line ends, never drops a document."""

    name: ClassVar[str] = "hyphenation"

    def ready(self, language: str) -> Clean:
        dotted = language in DOTTED
        return lambda text: _repair(text, dotted)


class _Break(NamedTuple):
    start: int  # of the left half
    hyphen: int
    right: int  # start of the right half
    left_half: str
    right_half: str
    strict: bool  # join only what is known to be a word


def _repair(text: str, dotted: bool) -> str:
    breaks = list(_breaks(text))
    if not breaks:
        return text
    words = set(_WORD.findall(_lower(" ".join(_outside(text, breaks)), dotted)))
    pieces, end = [], 0
    for found in breaks:
        joint = _joint(_lower(found.left_half, dotted), _lower(found.right_half, dotted), found.strict, words)
        if joint is None:
            continue
        pieces += [text[end : found.start], found.left_half, joint]
        end = found.right
        if _is_printed_line(text, found):
            stop = _blank_after(text, end)
            if text[stop : stop + 1] == " ":  # else the right half is alone on its line, which moves up whole
                pieces.append(text[end:stop] + "\n")
                end = stop + 1
    return "".join([*pieces, text[end:]])


def _breaks(text: str) -> Iterator[_Break]:
    for match in _BREAK.finditer(text):
        hyphen, right = match.start(), match["right"]
        left = _LEFT.search(text[max(0, hyphen - _LONGEST_WORD) : hyphen].split()[-1])
        if left is None or _COLUMNS.search(text, text.rfind("\n", 0, hyphen) + 1, hyphen):
            continue
        small, capital = right[0].islower(), left[0].isupper() and right.isupper()
        if small or capital:
            strict = capital or match["blank"] is not None or text[hyphen - 1] == " "
            yield _Break(text.rindex(left[0], 0, hyphen), hyphen, match.start("right"), left[0], right, strict)


def _joint(left: str, right: str, strict: bool, words: set[str]) -> str | None:
    """What goes between the halves; None leaves the break as it is."""
    if left + right in words:
        return ""
    if strict:
        return None
    whole = right in words and len(right) >= _SHORTEST_WORD
    compound = f"{left}-{right}" in words or (whole and (left in words or _COMBINING.fullmatch(left) is not None))
    return "-" if compound else ""


def _outside(text: str, breaks: list[_Break]) -> Iterator[str]:
    """The text without the broken words: their halves would pass for words."""
    end = 0
    for found in breaks:
        yield text[end : found.start]
        end = found.right + len(found.right_half)
    yield text[end:]


def _is_printed_line(text: str, found: _Break) -> bool:
    """Whether lines keep their places: neither a blank line nor a line that is a paragraph was broken here."""
    length = found.hyphen - text.rfind("\n", 0, found.hyphen)
    return length <= _LONGEST_LINE and "\n" not in text[found.hyphen : found.right].replace("\n", "", 1)


def _blank_after(text: str, start: int) -> int:
    found = _BLANK.search(text, start)
    return found.start() if found else len(text)


def _lower(text: str, dotted: bool) -> str:
    return (text.replace("İ", "i").replace("I", "ı") if dotted else text).lower()
