"""Which lines at the top and bottom of pages come back from page to page."""

import re
from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence

from data_prep.cleaning.lines import is_marked, is_open, starts_low

Pages = Sequence[Sequence[str]]  # the lines of each page
Place = tuple[int, int]  # page and line, both from 0
# Of an article or of a numbered item.
_HEADING = re.compile(r"(?:(?:ek|geçici|mükerrer)\s+)?madde\b|\(?\d+[.)]\s*[^\W\d_]", re.IGNORECASE)
_NUMBER = re.compile(r"\d{1,5}")
_ROMAN = re.compile(r"\W*([ivxlc]{1,8})\W*", re.IGNORECASE)
_DIGITS = {"i": 1, "v": 5, "x": 10, "l": 50, "c": 100}
_LETTERS = 4  # a shorter line without a page number is a cell of a table or the number of an item
_OPEN = (",", ";")  # the end of an item of a list
_LARGEST_GAP = 2  # pages from one to the next: left and right pages differ


def running_lines(
    pages: Pages, minimum_pages: int, margin_lines: int, maximum_characters: int, keep_first: bool
) -> set[Place]:
    """Each line in the margins that comes back on at least `minimum_pages` pages, as running_lines.py says."""
    places: dict[Hashable, list[Place]] = defaultdict(list)
    for page, lines in enumerate(pages):
        for line in _margins(lines, margin_lines):
            text = lines[line].strip()
            if len(text) <= maximum_characters and not _HEADING.match(text):
                for key in _keys(text, page):
                    places[key].append((page, line))
    runs = {key: [run for run in _runs(found) if _pages(run) >= minimum_pages] for key, found in places.items()}
    counted = {place for key, found in runs.items() if isinstance(key, tuple) for run in found for place in run}
    repeated = {place for key, found in runs.items() if isinstance(key, str) for run in found for place in run}
    running = counted | repeated
    if not keep_first:
        return running
    titles = {found[0][0] for key, found in runs.items() if isinstance(key, str) and found} - counted
    return running - {title for title in titles if not _cuts_sentence(pages, title, running)}


def _cuts_sentence(pages: Pages, place: Place, running: set[Place]) -> bool:
    """Whether the text that stays before a line goes on in the text that stays after it."""
    around = range(max(0, place[0] - 1), min(len(pages), place[0] + 2))
    filled = ((page, line) for page in around for line, text in enumerate(pages[page]) if text.strip())
    staying = [other for other in filled if other not in running]
    before = max((other for other in staying if other < place), default=None)
    after = min((other for other in staying if other > place), default=None)
    if before is None or after is None:
        return False
    return is_open(pages[before[0]][before[1]]) and starts_low(pages[after[0]][after[1]])


def _margins(lines: Sequence[str], count: int) -> list[int]:
    filled = [number for number, line in enumerate(lines) if line and not line.isspace()]
    return filled if len(filled) <= 2 * count else filled[:count] + filled[-count:]


def _keys(text: str, page: int) -> Iterator[Hashable]:
    """What must be equal on other pages: the line, or the line without a number and how far that number is ahead."""
    squeezed = _squeezed(text)
    if sum(map(str.isalpha, squeezed)) >= _LETTERS and not is_marked(text) and text[-1] not in _OPEN:
        yield squeezed
    for number in _NUMBER.finditer(text):
        rest = _squeezed(text[: number.start()]), _squeezed(text[number.end() :])
        yield *rest, int(number[0]) - page
    if roman := _ROMAN.fullmatch(text):
        yield "", "roman", _roman_value(roman[1].lower()) - page


def _squeezed(text: str) -> str:
    """Letters and digits alone: a scan spells blanks and marks anew on every page."""
    return re.sub(r"[\W_]+", "", text).casefold()


def _runs(places: list[Place]) -> Iterator[list[Place]]:
    """Places parted where one is more than `_LARGEST_GAP` pages from the next."""
    run = places[:1]
    for place in places[1:]:
        if place[0] - run[-1][0] > _LARGEST_GAP:
            yield run
            run = []
        run.append(place)
    yield run


def _pages(run: list[Place]) -> int:
    return len({page for page, _ in run})


def _roman_value(numeral: str) -> int:
    values = [_DIGITS[digit] for digit in numeral]
    return sum(-one if one < after else one for one, after in zip(values, [*values[1:], 0], strict=True))
