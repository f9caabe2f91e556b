"""How a line of Turkish or Latin-script prose looks: what the steps that repair scanned text ask about it."""

import re

LOWER = "a-zß-öø-ÿğışāēīōūа-яё"  # for a character class
_SENTENCE_END = ".!?…:;"
_CLOSING = "\"'”’»)]*"

# An article of a law or contract, a numbered or lettered item, a bullet, a footnote: a line that begins anew.
_MARK = re.compile(
    rf"""\s*(?:
    (?:(?:EK|GEÇİCİ|MÜKERRER|Ek|Geçici|Mükerrer)\s+)?(?:MADDE|Madde)\s*(?:\d+\S{{0,4}})?\s*(?:[-–—:.(]|$)
  | \(?\d{{1,3}}(?:\.\d{{1,3}}){{0,4}}\s?(?:[.)]|[.)]?\s?[-–—])(?:\s|(?=[^\W\d]))
  | \d{{1,3}}(?:\.\d{{1,3}}){{1,4}}\s
  | \(?(?:[{LOWER}]{{1,2}}|[A-ZÇĞİÖŞÜ])(?:\)|\s?[.]\s|\s[-–—]\s)
  | \(?[IVXLC]{{1,6}}\s?(?:[.)]|[-–—])
  | \[\d{{1,3}}\]
  | [-–—•●▪■◦∙·*+o]\s
    )""",
    re.VERBOSE,
)


def is_open(line: str) -> bool:
    """Whether a line stops inside a sentence: after a letter, a digit, a comma or a hyphen."""
    end = line.rstrip().rstrip(_CLOSING)[-1:]
    return bool(end) and end not in _SENTENCE_END


def starts_low(line: str) -> bool:
    """Whether a line begins with a lower-case letter and is no lettered item such as `a) ...`."""
    return line.lstrip()[:1].islower() and not is_marked(line)


def is_marked(line: str) -> bool:
    """Whether a line begins with the mark of an article, item or footnote."""
    head = line.lstrip()[:3]
    if head.isalpha() and head[0].islower():  # a word: most lines, spared the search
        return False
    return _MARK.match(line) is not None


def is_capital(line: str) -> bool:
    """Whether all letters of a line are capitals, as in many headings."""
    return line.isupper()


def has_columns(line: str) -> bool:
    """Whether a line is a row of a table: cells parted by wide gaps, tabs or bars."""
    cells = line.strip()
    return "   " in cells or "\t" in cells or "|" in cells
