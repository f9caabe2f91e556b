"""Real laws, and what a scanned book would make of them: pages, headers, broken lines and words."""

import gzip
import json
import random
import textwrap
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import pytest

import data_prep

WIDTH, LINES = 80, 40  # of a page
VOWELS = "aeıioöuüâîû"
Scan = Callable[..., str]


@pytest.fixture(scope="session")
def laws() -> list[str]:
    """Laws of the bundled sample."""
    with gzip.open(Path(data_prep.__file__).parent / "sample" / "laws.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line)["text"] for line in lines]


@pytest.fixture(scope="session")
def prose(laws: list[str]) -> str:
    """Paragraphs of full sentences out of several laws, with the headings of their articles."""
    paragraphs = (
        line for law in laws for line in law.split("\n") if len(line) > 200 and line[-1] == "." and "-" not in line
    )
    return "\n\n".join(islice(paragraphs, 150))


def syllables(word: str) -> list[int]:
    """Where Turkish spelling lets a line end: before the consonant that leads to a vowel, two letters left at least."""
    return [
        at
        for at in range(2, len(word) - 1)
        if word[at].lower() not in VOWELS
        and word[at + 1].lower() in VOWELS
        and any(c in VOWELS for c in word[:at].lower())
    ]


def broken(paragraph: str, dice: random.Random) -> Iterator[str]:
    """Lines of at most `WIDTH` characters; every second word that does not fit is broken at a syllable."""
    line = ""
    for word in paragraph.split():
        if line and len(line) + 1 + len(word) > WIDTH:
            room = WIDTH - len(line) - 2
            places = [at for at in syllables(word) if at <= room] if word.isalpha() and dice.random() < 0.5 else []
            if places:
                yield f"{line} {word[: places[-1]]}-"
                line = word[places[-1] :]
            else:
                yield line
                line = word
        else:
            line = f"{line} {word}".strip()
    yield line


@pytest.fixture(scope="session")
def scan() -> Scan:
    def make(text: str, *, form_feeds: bool = True, hyphens: bool = True, headers: bool = True) -> str:
        dice = random.Random(7)
        lines: list[str] = []
        for paragraph in text.split("\n\n"):
            lines += [
                *(broken(paragraph, dice) if hyphens else textwrap.wrap(paragraph, WIDTH, break_on_hyphens=False)),
                "",
            ]
        pages = [lines[start : start + LINES] for start in range(0, len(lines), LINES)]
        printed = []
        for number, page in enumerate(pages, 17):
            header = "Ayşe YILMAZ" if number % 2 else "İDARÎ YARGIDA TEMYİZ"
            top = [header, ""] if headers else []
            bottom = ["", f"- {number} -" if number % 2 else str(number)]
            printed.append("\n".join([*top, *page, *bottom]))
        return ("\f" if form_feeds else "\n").join(printed)

    return make
