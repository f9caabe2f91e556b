"""Read documents from JSON-lines files. What cannot be used is counted and named by file and line, never fatal."""

import gzip
import json
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple, cast

from recipes.errors import UserError

EXAMPLES = 100  # places named per reason; the count is always whole


class Document(NamedTuple):
    """One document as it came."""

    text: str
    place: str  # file and line, for messages
    consumed: int  # bytes of its file read so far, compressed ones where it is compressed


class Dropped:
    """What was left out, by reason: how many, and the first places."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.examples: dict[str, list[str]] = {}

    def add(self, reason: str, place: str) -> None:
        self.counts[reason] += 1
        places = self.examples.setdefault(reason, [])
        if len(places) < EXAMPLES:
            places.append(place)


def read_documents(path: Path, text_field: str, dropped: Dropped) -> Iterator[Document]:
    """Documents of a .jsonl or .jsonl.gz file, one JSON object a line; empty lines are skipped.

    Reasons in `dropped`: invalid_utf8, not_json, no_text, damaged_gzip (what lies before the damage is read).

    Raises:
        UserError: the file cannot be opened or read.
    """
    for number, line, consumed in _lines(path, dropped):
        place = f"{path.name}:{number}"
        text = _text(line, text_field)
        if isinstance(text, _Unusable):
            dropped.add(text.reason, place)
        elif text is not None:
            yield Document(text, place, consumed)


class _Unusable(NamedTuple):
    reason: str


def _text(line: bytes, field: str) -> str | _Unusable | None:
    """The text of one line; None for an empty line."""
    if not line.strip():
        return None
    try:
        row = json.loads(line.decode("utf-8"))
        text = row.get(field) if isinstance(row, dict) else None
        if not isinstance(text, str) or not text:
            return _Unusable("no_text")
        text.encode("utf-8")  # JSON can spell half a character: "\\ud800"
    except UnicodeError:
        return _Unusable("invalid_utf8")
    except (ValueError, RecursionError):
        return _Unusable("not_json")
    return text


def _lines(path: Path, dropped: Dropped) -> Iterator[tuple[int, bytes, int]]:
    """Number from 1, bytes, and the position in the file on disk."""
    number = 0
    try:
        with path.open("rb") as raw:
            stream = cast(IO[bytes], gzip.GzipFile(fileobj=raw) if path.suffix == ".gz" else raw)
            for number, line in enumerate(stream, 1):
                yield number, line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line, raw.tell()
    except (EOFError, zlib.error, gzip.BadGzipFile):
        dropped.add("damaged_gzip", f"{path.name}:{number + 1}")
    except OSError as error:
        raise UserError(
            f"corpus file {path} cannot be read ({error.strerror}); mend `files` or its permissions."
        ) from error
