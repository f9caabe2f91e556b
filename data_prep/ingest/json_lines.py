"""Read JSON lines: plain (a stretch of the file), gzip, Zstandard."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import orjson

from data_prep.ingest.damage import DAMAGE, refuse_unreadable
from data_prep.ingest.document import EXCERPT, LARGEST, Document, Dropped
from data_prep.ingest.lines import file_blocks, line_range, lines
from data_prep.ingest.part import Part

_MARK = b"\xef\xbb\xbf"  # a byte order mark
_DAMAGED = {".gz": "damaged_gzip", ".zst": "damaged_zstd"}
_COMPRESSED_BLOCK = 1 << 16  # decompressed bytes at once: at most so much before a damage is lost with it


def json_line_documents(part: Part, text_field: str, dropped: Dropped) -> Iterator[Document]:
    """One JSON object a line; empty lines are skipped.

    A gzip file's checksum comes last: where it is wrong, what was read may be wrong too, and `damaged_gzip` says so.
    """
    path, name = part.files[0], part.names[0]
    number = 0
    try:
        for number, line in enumerate(lines(_blocks(part), LARGEST), 1):
            text = _text(line, text_field)
            if isinstance(text, str):
                yield Document(text, name, number)
            elif text:
                dropped.add(text.reason, name, number, line[: 4 * EXCERPT].decode("utf-8", "replace"))
    except DAMAGE as error:
        refuse_unreadable(path, error)
        dropped.add(_DAMAGED[path.suffix], name, number + 1, str(error))
    finally:
        dropped.lines[name] += number


class _Unusable(NamedTuple):
    reason: str


def _text(line: bytes, field: str) -> str | _Unusable | None:
    """The text of one line; None for an empty line."""
    if len(line) > LARGEST:
        return _Unusable("too_large")
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError:
        return _second_look(line.removeprefix(_MARK).strip(), field)
    text = row.get(field) if type(row) is dict else None
    return text if type(text) is str and text else _Unusable("no_text")


def _second_look(line: bytes, field: str) -> str | _Unusable | None:
    """What orjson refuses and Python does not, such as NaN; and why the rest is of no use."""
    if not line:
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


def _blocks(part: Part) -> Iterator[bytes]:
    path = part.files[0]
    if path.suffix == ".gz":
        return _gzip_blocks(path)
    if path.suffix == ".zst":
        return _zstd_blocks(path)
    return file_blocks(path, *line_range(path, part.start, part.stop))


def _gzip_blocks(path: Path) -> Iterator[bytes]:
    with gzip.open(path) as stream:
        while block := stream.read1(_COMPRESSED_BLOCK):
            yield block


def _zstd_blocks(path: Path) -> Iterator[bytes]:
    import pyarrow as pa

    with pa.OSFile(str(path)) as raw, pa.CompressedInputStream(raw, "zstd") as stream:
        while block := stream.read(_COMPRESSED_BLOCK):
            yield block
