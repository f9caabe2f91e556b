"""Where the streams of a phase's sources stand after it: phases/<n>/given/<source>.npy, a bit per document.

So the phase after it starts without cutting the phases before it again. The digest of a cursor stands for its content:
a phase whose sources start where they started before is not cut again.
"""

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from data_prep.slices import Cursor, Stream
from recipes.artifacts import digest

FOLDER = "given"


class Position(NamedTuple):
    """A cursor that is loaded when it is needed."""

    digest: str
    load: Callable[[], Cursor]


def beginning(stream: Stream) -> Position:
    """Before the first phase that reads the source."""
    return Position("beginning", stream.start)


def position_of(cursor: Cursor) -> Position:
    """A cursor in memory."""
    return Position(digest(_entry(cursor, packed(cursor))), lambda: cursor)


def stored_position(folder: Path, name: str, entry: dict[str, Any], documents: int) -> Position:
    """A cursor in the phase folder `folder`, as `write_cursor` described it."""
    return Position(digest(entry), lambda: _read(folder / cursor_file(name), entry, documents))


def cursor_file(name: str) -> str:
    """Path of a source's cursor in the phase folder."""
    return f"{FOLDER}/{name}.npy"


def write_cursor(folder: Path, name: str, cursor: Cursor) -> dict[str, Any]:
    """Write a cursor into the phase folder `folder`; returns what its manifest says of it."""
    content = packed(cursor)
    path = folder / cursor_file(name)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return _entry(cursor, content)


def packed(cursor: Cursor) -> bytes:
    """The readings as a .npy of [bits of the largest, ⌈documents / 8⌉] bytes; no row if all documents are equal."""
    bits = int(cursor.readings.max(initial=0)).bit_length()
    rows = [np.packbits(cursor.readings >> np.uint8(bit) & np.uint8(1)) for bit in range(bits)]
    stream = io.BytesIO()
    np.save(stream, np.array(rows, np.uint8).reshape(bits, -(-len(cursor.readings) // 8)), allow_pickle=False)
    return stream.getvalue()


def _entry(cursor: Cursor, content: bytes) -> dict[str, Any]:
    return {"epoch": cursor.epoch, "tokens": cursor.tokens, "sha256": hashlib.sha256(content).hexdigest()}


def _read(path: Path, entry: dict[str, Any], documents: int) -> Cursor:
    readings: NDArray[np.uint8] = np.zeros(documents, np.uint8)
    for bit, row in enumerate(np.load(path, allow_pickle=False)):
        readings |= np.unpackbits(row, count=documents) << np.uint8(bit)
    return Cursor(entry["epoch"], entry["tokens"], readings)
