"""Headers, footers and page numbers go: they come back on every page and cut sentences in two.

Pages are what form feeds part. Without form feeds they are found by lines that return once a page (page_breaks.py): a
number that counts on, alone or at one end of a short line, or the same short line again and again; at the distance of
pages, and now and then in the middle of a sentence, which neither the number of an article nor a subheading ever is.

On a page, the first and last few lines are judged (page_margins.py). A line goes if the same line, or the same but for
one number that counts the pages ("12", "- 12 -", "Sayfa 3/17", "xii", "45 Ahmet Yılmaz"), stands there on several
pages, none more than two pages from the next: left and right pages may differ, and a chapter may have its own. The
heading of an article ("MADDE 5 –") never goes. A sentence that a page cut is put together again; elsewhere pages are
parted by a blank line.
"""

from itertools import pairwise
from typing import ClassVar

from pydantic import Field

from data_prep.cleaning.lines import is_open, starts_low
from data_prep.cleaning.page_breaks import find_pages
from data_prep.cleaning.page_margins import running_lines
from data_prep.cleaning.step import Clean, Step

_SENTENCE = 40  # characters; a shorter line before a page's end may be a row of a table


class RunningLines(Step):
    """Removes lines and form feeds, never drops a document."""

    name: ClassVar[str] = "running_lines"
    minimum_pages: int = Field(3, ge=2)  # on which a line must stand
    margin_lines: int = Field(3, ge=1)  # judged at the top and at the bottom of a page, blank ones not counted
    maximum_characters: int = Field(100, ge=1)  # of a running line
    keep_first: bool = False  # the first of several equal lines, as the title of a table, unless it cuts a sentence

    def ready(self, language: str) -> Clean:
        return self._repair

    def _repair(self, text: str) -> str:
        pages = find_pages(text, self.minimum_pages)
        if len(pages) == 1:
            return text
        options = self.minimum_pages, self.margin_lines, self.maximum_characters, self.keep_first
        running = running_lines(pages, *options)
        bodies = [
            "\n".join(line for number, line in enumerate(lines) if (page, number) not in running).strip("\n")
            for page, lines in enumerate(pages)
        ]
        return _bound([body for body in bodies if not body.isspace() and body], _has_spaced_lines(text))


def _has_spaced_lines(text: str) -> bool:
    """Whether a blank line stands between most lines: then a line is a paragraph, else it is what the page was wide."""
    return 2 * text.count("\n\n") > text.count("\n") - text.count("\n\n")


def _bound(bodies: list[str], spaced: bool) -> str:
    pieces = bodies[:1]
    for before, after in pairwise(bodies):
        last, first = before[before.rfind("\n") + 1 :].rstrip(), after.split("\n", 1)[0]
        pieces += [_joint(last, first, spaced), after]
    return "".join(pieces)


def _joint(last: str, first: str, spaced: bool) -> str:
    if last.endswith("-") and starts_low(first):  # the step `hyphenation` takes it from here
        return "\n"
    if spaced:
        return " " if len(last) > _SENTENCE and is_open(last) and starts_low(first) else "\n\n"
    return "\n" if is_open(last) else "\n\n"
