"""Read JSON lines: plain (a stretch of the file), gzip, Zstandard."""

import gzip
import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from pydantic_core import SchemaValidator, ValidationError, core_schema

from data_prep.ingest.damage import DAMAGE, refuse_unreadable
from data_prep.ingest.document import EXCERPT, LARGEST, Dropped, RawDocument
from data_prep.ingest.lines import file_blocks, line_range, lines
from data_prep.ingest.part import Part

_MARK = b"\xef\xbb\xbf"  # a byte order mark
_DAMAGED = {".gz": "damaged_gzip", ".zst": "damaged_zstd"}
_COMPRESSED_BLOCK = 1 << 16  # decompressed bytes at once: at most so much before a damage is lost with it


def json_line_documents(part: Part, text_field: str, dropped: Dropped) -> Iterator[RawDocument]:
    """One JSON object a line; empty lines are skipped.

    A gzip file's checksum comes last: where it is wrong, what was read may be wrong too, and `damaged_gzip` says so.
    """
    path, name = part.files[0], part.names[0]
    parse = _parser(text_field)
    number = 0
    try:
        for number, line in enumerate(lines(_blocks(part), LARGEST), 1):
            text = _text(line, text_field, parse)
            if isinstance(text, bytes):
                yield RawDocument(text, name, number)
            elif text:
                excerpt = line.removesuffix(b"\n")[: 4 * EXCERPT]
                dropped.add(text.reason, name, number, excerpt.decode("utf-8", "replace"))
    except DAMAGE as error:
        refuse_unreadable(path, error)
        dropped.add(_DAMAGED[path.suffix], name, number + 1, str(error))
    finally:
        dropped.lines[name] += number


class _Unusable(NamedTuple):
    reason: str


@cache
def _parser(field: str) -> Callable[[bytes], Any]:
    """From a line to `{field: its text in UTF-8}`. All of the line is checked, but no other field becomes an object."""
    text = core_schema.typed_dict_field(core_schema.bytes_schema(min_length=1))
    return SchemaValidator(core_schema.typed_dict_schema({field: text})).validate_json


def _text(line: bytes, field: str, parse: Callable[[bytes], Any]) -> bytes | _Unusable | None:
    """The text of one line; None for an empty line."""
    if len(line) - line.endswith(b"\n") > LARGEST:
        return _Unusable("too_large")
    try:
        return parse(line)[field]
    except ValidationError:
        return _second_look(line.removeprefix(_MARK).strip(), field)


def _second_look(line: bytes, field: str) -> bytes | _Unusable | None:
    """What the parser refuses and Python does not, such as deep nesting; and why the rest is of no use."""
    if not line:
        return None
    try:
        row = json.loads(line.decode("utf-8"))
        text = row.get(field) if isinstance(row, dict) else None
        if not isinstance(text, str) or not text:
            return _Unusable("no_text")
        return text.encode("utf-8")  # JSON can spell half a character: "\\ud800"
    except UnicodeError:
        return _Unusable("invalid_utf8")
    except (ValueError, RecursionError):
        return _Unusable("not_json")


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
