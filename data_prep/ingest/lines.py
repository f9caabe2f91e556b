"""Lines of a file or of a stretch of it, in bounded memory."""

from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path
from typing import IO

BLOCK = 256 << 10  # bytes read at once: they and their lines stay in the cache of a core


def line_range(path: Path, start: int, stop: int) -> tuple[int, int]:
    """First byte of the first line, and the byte after the last line, among those that start in bytes [start, stop)."""
    with path.open("rb") as stream:
        begin = _line_start(stream, start, stop)
        return begin, begin if begin == stop else _line_start(stream, stop)


def _line_start(stream: IO[bytes], position: int, bound: int | None = None) -> int:
    """Where the first line at or after `position` starts; `bound`, or the end of the file, if none starts before it."""
    if position == 0:
        return 0
    position -= 1  # a line starts here if the byte before ends one
    stream.seek(position)
    while bound is None or position < bound - 1:
        block = stream.read(BLOCK if bound is None else min(BLOCK, bound - 1 - position))
        newline = block.find(b"\n")
        if newline >= 0:
            return position + newline + 1
        if not block:
            return position
        position += len(block)
    return bound


def file_blocks(path: Path, begin: int, end: int) -> Iterator[bytes]:
    """Bytes [begin, end) of a file, in blocks."""
    with path.open("rb") as stream:
        stream.seek(begin)
        while block := stream.read(min(BLOCK, end - begin)):
            begin += len(block)
            yield block


def lines(blocks: Iterable[bytes], limit: int) -> Iterator[bytes]:
    """Lines with their newline; of one longer than `limit` bytes, no more than its first `limit` and two blocks."""
    pieces: list[bytes] = []
    size = 0
    for block in blocks:
        whole = BytesIO(block).readlines()  # four times as fast as `split`, which looks at one byte at a time
        tail = b"" if not whole or whole[-1].endswith(b"\n") else whole.pop()
        if whole:
            yield b"".join((*pieces, whole[0]))
            yield from whole[1:]
            pieces, size = [], 0
        if tail and size <= limit:
            pieces.append(tail)
            size += len(tail)
    if size:
        yield b"".join(pieces)
