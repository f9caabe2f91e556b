"""Lines that a scan or a PDF broke at the width of the page become paragraphs again.

A text is taken to be hard-wrapped only where many lines stop inside a sentence, go on in lower case on the next, and
are about equally long: that length is the width of its lines. Then a line is joined to the next one unless

- there is a blank line between them, or the next is indented more;
- its next word would have fitted on it: the author ended it there (the last line of a paragraph, a verse, an address),
  though a line that goes on in lower case may be a little shorter, since printed letters differ in width;
- the next begins with the mark of an article, an item, a bullet or a footnote ("MADDE 3 –", "a)", "1.", "-");
- one of the two is a row of a table, or a heading in capitals.

So a text of one line per paragraph passes unchanged, and so do poems, lists and code.
"""

import re
from itertools import pairwise
from statistics import quantiles
from typing import ClassVar

from pydantic import Field

from data_prep.cleaning.lines import LOWER, has_columns, is_capital, is_marked, is_open, starts_low
from data_prep.cleaning.step import Clean, Step

_ADJACENT = re.compile(r"\n(?<=[^\s.:;!?]\n)[ \t]*[^\s(\d]")  # a line stops inside a sentence, another follows
_WRAP = re.compile(rf"\n(?<=[^\s.:;!?]\n)[ \t]*[{LOWER}](?!\w?[).])")  # and goes on in lower case
_NUMBERED = re.compile(rf"\s*\d+[.]\s[{LOWER}]")  # "5. maddesi": an ordinal in running text, or an item
_TRAILING = re.compile(r"(?<![ \t])[ \t]+\n")
_FULL = 0.85  # of the width: a line with its next word that is longer than this had no room for the word
_SHORTEST = 0.6  # of the width: a line that goes on in lower case


class BrokenLines(Step):
    """Joins lines, never drops a document."""

    name: ClassVar[str] = "broken_lines"
    minimum_breaks: int = Field(3, ge=1)  # lines that go on in lower case on the next, below which nothing is joined
    minimum_share: float = Field(0.4, ge=0, le=1)  # of these among adjacent lines that stop inside a sentence
    minimum_width: int = Field(35, ge=1)  # characters; narrower lines are verses, columns or tables
    maximum_width: int = Field(150, ge=1)  # characters; wider ones are paragraphs

    def ready(self, language: str) -> Clean:
        return self._repair

    def _repair(self, text: str) -> str:
        return self._rejoined(_TRAILING.sub("\n", text) if " \n" in text else text) or text

    def _rejoined(self, text: str) -> str | None:
        """None if the text is not hard-wrapped. Lines must not end in blanks."""
        breaks = len(_WRAP.findall(text))
        if breaks < self.minimum_breaks or breaks < self.minimum_share * len(_ADJACENT.findall(text)):
            return None
        lines = text.split("\n")
        width = _width(lines)
        if width is None or not self.minimum_width <= width <= self.maximum_width:
            return None
        return _joined(lines, width)


def _width(lines: list[str]) -> float | None:
    """The width at which lines were broken; None if the lengths have nothing in common."""
    lengths = [len(line) for line, after in pairwise(lines) if is_open(line) and starts_low(after)]
    if len(lengths) < 2:
        return None
    deciles = quantiles(lengths, n=10, method="inclusive")
    return deciles[8] if deciles[3] >= 0.75 * deciles[8] else None


def _joined(lines: list[str], width: float) -> str:
    pieces = [lines[0]]
    for line, after in pairwise(lines):
        if _goes_on(line, after, width):
            joint = "" if line[-1] == "-" and line[-2:-1].isalpha() else " "  # a hyphen that stayed: no space after it
            pieces += [joint, after.lstrip()]
        else:
            pieces += ["\n", after]
    return "".join(pieces)


def _goes_on(line: str, after: str, width: float) -> bool:
    words = after.split(maxsplit=1)
    if not line or not words or _indent(after) > _indent(line) + 1:
        return False
    full = len(line) + 1 + len(words[0]) > _FULL * width
    low = is_open(line) and len(line) >= _SHORTEST * width and starts_low(after)
    if not full and not low:
        return False
    if is_capital(line) or has_columns(line) or has_columns(after):
        return False
    if is_marked(after):
        return line[-1].isalpha() and _NUMBERED.match(after) is not None
    return low or (line[-1] != ":" and not is_capital(after))


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
