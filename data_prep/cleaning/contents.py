"""Tables of contents and lists of figures or tables go: titles that return in the text, and numbers of pages.

- Three or more lines with leaders and a page number ("1.2. Kapsam ........ 7"), close to one another.
- Under a heading such as İÇİNDEKİLER or TABLOLAR LİSTESİ also entries whose leaders the scan lost: short lines that end
  in a page number, none smaller than the one before.

Up to two other lines may stand between entries, where a title was too long for one line or a part has no page. Lists of
abbreviations stay: they explain the text. So do forms ("Adı soyadı ........"), which have no page numbers, and tariffs,
whose amounts go up and down.
"""

import re
from itertools import pairwise
from typing import ClassVar, NamedTuple

from pydantic import Field

from data_prep.cleaning.step import Clean, Step

_HINTS = (  # one of which stands in every text that is looked at line by line
    *("....", ". . .", "……", "… …", "····", "____"),
    *("İÇİNDEKİLER", "İçindekiler", "ONTENTS", "ontents", "LİSTESİ", "istesi", "DİZİNİ", "izini", "LIST OF", "List of"),
)
_LEADERS = r"(?:(?:\.[ ]?){4,}|(?:…[ ]?){2,}|(?:·[ ]?){4,}|_{4,})[ \t.]*"
_PAGE = r"(?P<page>\d{1,4}|[ivxlc]{1,7}|[IVXLC]{1,7})[ \t]*"
_LED_ENTRY = re.compile(rf".*?\S[ \t]*{_LEADERS}{_PAGE}")
_BARE_ENTRY = re.compile(rf"(?=.*[^\W\d_]).{{3,150}}[ \t]{_PAGE}")
_PAGE_SIGNS = frozenset("0123456789ivxlcIVXLC \t")
_NOUN = "(?:tablo|şekil|çizelge|grafik|resim|harita)(?:ler|lar)?|ekler"
_HEADING = re.compile(
    rf"\s*(?:içindekiler|(?:{_NOUN}) (?:listesi|dizini|cetveli)"
    r"|(?:table of )?contents|list of (?:figures|tables))\s*:?\s*"
)
_LONGEST_ENTRY = 300  # characters
_OTHERS = 2  # lines between entries
_IN_ORDER = 0.8  # of the page numbers of a table are at least the one before; the scan misread the others


class Contents(Step):
    """Removes blocks of lines, never drops a document."""

    name: ClassVar[str] = "contents"
    minimum_entries: int = Field(3, ge=2)  # of a table of contents

    def ready(self, language: str) -> Clean:
        return self._repair

    def _repair(self, text: str) -> str:
        if not any(hint in text for hint in _HINTS):
            return text
        lines = text.split("\n")
        kept: list[str] = []
        start = number = 0
        while number < len(lines):
            table = _table(lines, number)
            if table and table.entries >= self.minimum_entries:
                kept += lines[start:number]
                start = table.end
            number = max(number + 1, table.end if table else 0)
        return "\n".join(kept + lines[start:]).strip("\n") if start else text


class _Table(NamedTuple):
    end: int  # the line after its last entry
    entries: int  # 0 if their page numbers are in no order


def _table(lines: list[str], start: int) -> _Table | None:
    """The table of contents that begins with this line."""
    if _is_heading(lines[start]):
        return _entries(lines, start + 1, bare=True)
    return _entries(lines, start, bare=False) if _page(lines[start], bare=False) else None


def _entries(lines: list[str], start: int, bare: bool) -> _Table:
    """Entries from here on, `bare` ones without leaders too."""
    end, others, entries, pages = start, 0, 0, list[int]()
    for number in range(start, len(lines)):
        page = _page(lines[number], bare)
        if page and not (bare and _falls_back(page, pages)):
            end, others, entries = number + 1, 0, entries + 1
            pages += [int(page)] if page.isdecimal() else []
        elif lines[number].strip():
            others += 1
            if others > _OTHERS or (entries and _is_heading(lines[number])):
                break
    in_order = sum(one <= after for one, after in pairwise(pages))
    return _Table(end, entries if in_order >= _IN_ORDER * (len(pages) - 1) else 0)


def _page(line: str, bare: bool) -> str | None:
    """The page number of an entry, None for other lines."""
    if line[-1:] not in _PAGE_SIGNS or len(line) > _LONGEST_ENTRY or not line.strip():
        return None
    entry = _LED_ENTRY.fullmatch(line) or (_BARE_ENTRY.fullmatch(line) if bare else None)
    return entry["page"] if entry else None


def _falls_back(page: str, pages: list[int]) -> bool:
    return page.isdecimal() and bool(pages) and int(page) < pages[-1]


def _is_heading(line: str) -> bool:
    return len(line) < 40 and _HEADING.fullmatch(line.replace("İ", "i").replace("I", "ı").lower()) is not None
