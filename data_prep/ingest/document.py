"""What a reader yields, and the account of what could not be used."""

from collections import Counter
from typing import NamedTuple

EXAMPLES = 20  # kept per reason and part; the count is always whole
EXCERPT = 400  # characters of text kept with an example
LARGEST = 100_000_000  # bytes of one line, file or value; a larger one is counted, not read


class RawDocument(NamedTuple):
    """One document as it came, in valid UTF-8: tokenizing needs no `str` of it, and making one takes long."""

    text: bytes
    file: str
    line: int

    def decoded(self) -> "Document":
        return Document(self.text.decode(), self.file, self.line)


class Document(NamedTuple):
    """One document as it came."""

    text: str
    file: str  # relative to the corpus file, for messages
    line: int  # from 1, within the part that read it: a part in the middle of a file does not know the lines before it

    def encoded(self) -> RawDocument:
        return RawDocument(self.text.encode(), self.file, self.line)


class Example(NamedTuple):
    """A document that was left out."""

    file: str
    line: int
    excerpt: str = ""  # the beginning of its text, where it has one


class Dropped:
    """What a part left out, by reason: how many, and the first of them. `lines` counts what was read of each file."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.examples: dict[str, list[Example]] = {}
        self.lines: Counter[str] = Counter()

    def add(self, reason: str, file: str, line: int, text: str = "") -> None:
        self.counts[reason] += 1
        examples = self.examples.setdefault(reason, [])
        if len(examples) < EXAMPLES:
            examples.append(Example(file, line, text[:EXCERPT]))
