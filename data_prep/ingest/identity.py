"""Know a part's input again: by size and time of its files where they are unchanged, else by content.

A receipt stores `sealed_identity`, and a later run asks `input_changed`, which looks at size and time alone as long as
they are the same. Where only the time differs the content is read again: a touched or copied file is known by its
digest, a rewritten one is named even if its size is the same. A rewrite that keeps size and time goes unnoticed.
"""

import functools
import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import xxhash

from data_prep.ingest.damage import DAMAGE, refuse_unreadable
from data_prep.ingest.lines import file_blocks, line_range
from data_prep.ingest.part import Part
from recipes.errors import UserError


class Comparison(NamedTuple):
    """What `input_changed` found."""

    changed: str | None  # the name of the changed file; None: the part is what it was
    identity: dict[str, Any]  # to store from now on: with the times of now, so that no content is read again


def identity(part: Part) -> dict[str, Any]:
    """What is asked of the file system: kind, start, stop, and name, size and mtime_ns of each file.

    Raises:
        UserError: a file cannot be read.
    """
    files = [_state(path, name) for path, name in zip(part.files, part.names, strict=True)]
    return {"kind": part.kind, "start": part.start, "stop": part.stop, "files": files}


def sealed_identity(part: Part, before: dict[str, Any]) -> dict[str, Any]:
    """`before` (the `identity` when reading began) with the digest of what belongs to the part of each file.

    Raises:
        UserError: a file was written to since, so nobody knows what was read of it.
    """
    files = [{**file, "digest": _digest(part, path)} for file, path in zip(before["files"], part.files, strict=True)]
    changed = _differing(before["files"], identity(part)["files"])
    if changed:
        raise UserError(f"corpus file {changed} was written to while it was read; run again when it is finished.")
    return {**before, "files": files}


def input_changed(stored: dict[str, Any], part: Part) -> Comparison:
    """Compare what a receipt stored for `part` with the disk now.

    Raises:
        UserError: a file cannot be read.
    """
    now = identity(part)
    if not _same_cut(stored, now):
        return Comparison(_differing(stored["files"], now["files"], ("name", "size")) or part.names[0], now)
    for old, new, path in zip(stored["files"], now["files"], part.files, strict=True):
        if old["mtime_ns"] != new["mtime_ns"] and _digest(part, path) != old["digest"]:
            return Comparison(new["name"], now)
        new["digest"] = old["digest"]
    return Comparison(None, now)


def _same_cut(stored: dict[str, Any], now: dict[str, Any]) -> bool:
    cut = [
        (one["kind"], one["start"], one["stop"], [(file["name"], file["size"]) for file in one["files"]])
        for one in (stored, now)
    ]
    return cut[0] == cut[1]


def _differing(
    old: list[dict[str, Any]], new: list[dict[str, Any]], by: tuple[str, ...] = ("size", "mtime_ns")
) -> str | None:
    """The name of the first file that differs."""
    for one, other in itertools.zip_longest(old, new):
        if not one or not other or any(one[key] != other[key] for key in by):
            return str((other or one)["name"])
    return None


def _state(path: Path, name: str) -> dict[str, Any]:
    try:
        status = path.stat()
    except OSError as error:
        refuse_unreadable(path, error)
        raise
    return {"name": name, "size": status.st_size, "mtime_ns": status.st_mtime_ns}


def _digest(part: Part, path: Path) -> str:
    """XXH3 (128 bits) of the part's bytes of a file: against accidents, not against forgery.

    A part of a Parquet file has the digest of the whole file, because a damaged footer may name no place to look at.
    """
    try:
        if part.stop == 0 or part.kind == "parquet":
            state = path.stat()
            return _file_digest(path, state.st_size, state.st_mtime_ns)
        return _ranges_digest(path, _byte_ranges(part, path))
    except (*DAMAGE, IndexError) as error:  # it has no such record batches any more
        refuse_unreadable(path, error)
        return "damaged"


@functools.lru_cache(maxsize=1)  # the parts of a file follow one another
def _file_digest(path: Path, size: int, mtime_ns: int) -> str:
    return _ranges_digest(path, [(0, size)])


def _ranges_digest(path: Path, ranges: Iterable[tuple[int, int]]) -> str:
    state = xxhash.xxh3_128()
    for begin, end in ranges:
        for block in file_blocks(path, begin, end):
            state.update(block)
    return state.hexdigest()


def _byte_ranges(part: Part, path: Path) -> list[tuple[int, int]]:
    if part.kind == "jsonl":
        return [line_range(path, part.start, part.stop)]
    from data_prep.ingest.saved_dataset import batch_offsets

    offsets = batch_offsets(path)
    return [(0, offsets[0]), (offsets[part.start], offsets[part.stop])]
