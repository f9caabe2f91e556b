"""Where the pages of a text begin: at form feeds, or, without any, after lines that return once a page."""

import re
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from data_prep.cleaning.lines import is_marked, is_open, starts_low

# Characters from one page to the next: what counts on sooner is a table or list, what counts on later are chapters.
_SHORTEST_PAGE, _LONGEST_PAGE = 300, 9_000
_USUAL_PAGE = 1_000
_LARGEST_STEP = 3  # numbers that the scan lost, blank pages
_CUTS = 2  # sentences that a line must cut: enough to be taken for a page's end
_UNCUT = 6  # bare numbers that count on are taken for page numbers too, if most bare numbers between them do
_REPEATS = 5  # a line without a number must come back more often, and cut every fifth time
_LOOK = 300  # characters around a page's end in which a sentence is looked for

_DIGITS = frozenset("0123456789")
_LONGEST_LINE = 90  # characters
_BARE = re.compile(
    r"[-–—| \t]*(?:(?:sayfa|page)[ \t]*:?[ \t]*)?\d{1,4}(?:[ \t]?[-/][ \t]?\d{1,4})?[-–—| \t]*", re.IGNORECASE
)
_NUMBER = re.compile(r"(?<!\w)\d{1,4}(?!\w)")


def find_pages(text: str, minimum_pages: int) -> list[list[str]]:
    """The lines of each page; one page where there is no sign of more. Of a page whose number is lost, no lines."""
    if "\f" in text:
        return [page.split("\n") for page in text.split("\f")]
    body = "\n" + text
    ends = _numbered_ends(body, minimum_pages) or _repeated_ends(body)
    pages: list[list[str]] = []
    start = 1
    for end, lost in ends:
        pages += [*([[]] * lost), body[start:end].split("\n")]
        start = end + 1
    return [*pages, body[start:].split("\n")]


@dataclass(eq=False)
class _Line:
    """A line with a number in it, and the line with a smaller one from which it counts on."""

    start: int  # of the newline before it
    end: int
    value: int
    bare: bool
    before: "_Line | None" = None
    count: int = 1  # lines up to this one

    def continues(self, other: "_Line") -> bool:
        step, distance = self.value - other.value, self.start - other.start
        return step > 0 and _SHORTEST_PAGE * step <= distance <= _LONGEST_PAGE * step


def _numbered_ends(body: str, minimum_pages: int) -> list[tuple[int, int]]:
    """Where page-number lines end, and how many numbers are lost between each and the one before it."""
    ends: dict[int, int] = {}
    for lines in _by_pattern(body).values():
        if len(lines) >= minimum_pages:
            for chain in _chains(lines, minimum_pages):
                if _is_paging(body, chain, lines):
                    for line in chain:
                        ends.setdefault(line.end, line.value - line.before.value - 1 if line.before else 0)
    return sorted(ends.items())


def _by_pattern(body: str) -> dict[tuple[str, str], list[_Line]]:
    """Lines that are alike but for one number, in the order of the text: numbers alone, or at one end of a line."""
    found = defaultdict(list)
    end = -1
    for line in body.split("\n"):
        start, end = end, end + 1 + len(line)
        if not line or len(line) > _LONGEST_LINE:
            continue
        text = line.strip(" \t|–—-")
        if text[-1:] in _DIGITS or text[:1] in _DIGITS:
            bare = _BARE.fullmatch(line) is not None
            for number in _NUMBER.finditer(text):
                if bare or number.start() == 0 or number.end() == len(text):
                    pattern = text[: number.start()], text[number.end() :]
                    found[pattern].append(_Line(start, end, int(number[0]), bare))
    return found


def _chains(lines: list[_Line], minimum_pages: int) -> Iterator[list[_Line]]:
    """Lines that count on at the distance of pages; the longest first, no line in two."""
    last: dict[int, _Line] = {}  # by value
    for line in lines:
        candidates = (last.get(line.value - step) for step in range(1, _LARGEST_STEP + 1))
        line.before = next((other for other in candidates if other and line.continues(other)), None)
        line.count = line.before.count + 1 if line.before else 1
        known = last.get(line.value)
        if not known or line.count >= known.count or line.start - known.start > _LONGEST_PAGE:
            last[line.value] = line
    used: set[_Line] = set()
    for end in sorted(lines, key=lambda line: -line.count):
        chain: list[_Line] = []
        line_before: _Line | None = end
        while line_before and line_before not in used:
            chain.append(line_before)
            line_before = line_before.before
        if len(chain) >= minimum_pages and line_before is None:
            used.update(chain)
            yield chain[::-1]


def _is_paging(body: str, chain: list[_Line], lines: list[_Line]) -> bool:
    if _cuts(body, ((line.start, line.end) for line in chain)) >= _CUTS:
        return True
    if not chain[0].bare or len(chain) < _UNCUT:
        return False
    first, last = (bisect_left(lines, end.start, key=lambda line: line.start) for end in (chain[0], chain[-1]))
    lengths = [(after.start - line.start) / (after.value - line.value) for line, after in pairwise(chain)]
    return 2 * len(chain) >= last - first + 1 and _are_even(lengths)


def _are_even(lengths: list[float]) -> bool:
    """Whether most pages are about as long as the middle one, and that one as long as a page is."""
    middle = median(lengths)
    near = sum(middle / 2.5 < length < 2.5 * middle for length in lengths)
    return middle >= _USUAL_PAGE and near >= 0.75 * len(lengths)


def _repeated_ends(body: str) -> list[tuple[int, int]]:
    """Where the short line ends that comes back most often, cutting sentences: a header of pages without numbers."""
    lines = body.split("\n")
    repeated = {line for line, count in Counter(lines).items() if count >= _REPEATS and _is_title(line)}
    found: dict[str, list[tuple[int, int]]] = {line: [] for line in repeated}
    end = -1
    for line in lines if repeated else ():
        start, end = end, end + 1 + len(line)
        if line in repeated:
            found[line].append((start, end))
    for spans in sorted(found.values(), key=lambda spans: (-len(spans), spans)):
        gaps = [after[0] - before[0] for before, after in pairwise(spans)]
        apart = sum(_SHORTEST_PAGE <= gap <= _LONGEST_PAGE for gap in gaps) >= 0.8 * len(gaps)
        if apart and _cuts(body, spans) >= max(_CUTS, 0.2 * len(spans)):
            return [(end, 0) for _, end in spans]
    return []


def _is_title(line: str) -> bool:
    proper = 4 <= len(line) <= _LONGEST_LINE and line[0].isalnum() and line[-1] not in ".,;:"
    return proper and not is_marked(line)


def _cuts(body: str, spans: Iterable[tuple[int, int]]) -> int:
    """How many of the lines stand inside a sentence."""
    return sum(_is_cut(body, start, end) for start, end in spans)


def _is_cut(body: str, start: int, end: int) -> bool:
    """Whether the text before stops inside a sentence and the text after, or after one short line, goes on in it."""
    before = _filled(body[max(0, start - _LOOK) : start])
    after = _filled(body[end : end + _LOOK])
    if not before or not after:
        return False
    goes_on = starts_low(after[0]) or (len(after) > 1 and len(after[0]) < 80 and starts_low(after[1]))
    return len(before[-1]) > 30 and is_open(before[-1]) and goes_on


def _filled(text: str) -> list[str]:
    return [line for line in text.split("\n") if line.strip()]
