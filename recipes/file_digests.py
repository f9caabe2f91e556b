"""Digests of many large files, shared out among the ranks of a job: each file is read by one of them.

XXH3-128 (https://xxhash.com) finds damage at the speed of memory; it is no defence against forgery.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import xxhash

_BLOCK = 4 << 20


class FileDigest(NamedTuple):
    """Size in bytes, and XXH3-128 in hexadecimal."""

    bytes: int
    xxh3_128: str


def measure(path: Path) -> FileDigest:
    """Read `path` to its end.

    Raises:
        OSError: it cannot be read.
    """
    digest, size = xxhash.xxh3_128(), 0
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
            size += len(block)
    return FileDigest(size, digest.hexdigest())


def share(digests: dict[str, FileDigest], rank: int, ranks: int) -> list[str]:
    """The files that one of `ranks` reads: dealt out from the largest to the smallest."""
    return sorted(digests, key=lambda name: (-digests[name].bytes, name))[rank::ranks]


def first_difference(
    folder: Path, expected: dict[str, FileDigest], names: Sequence[str], read: bool = True
) -> str | None:
    """What is wrong with the first of `names` that is not as expected, or None; without `read`, by its size alone."""
    for name in names:
        try:
            size = (folder / name).stat().st_size
            if size != expected[name].bytes:
                return f"{name} has {size:,} bytes, not {expected[name].bytes:,}"
            if read and measure(folder / name) != expected[name]:
                return f"the content of {name} has changed"
        except OSError as error:
            return f"{name} cannot be read, {error.strerror or error}"
    return None
