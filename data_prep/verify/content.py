"""Full mode: every byte of a file is read once, in blocks; its digest, its tokens and its document ends are judged."""

import hashlib
from bisect import bisect_right
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from data_prep.indexed import Index
from data_prep.verify.dataset import Dataset
from data_prep.verify.report import Problem

BLOCK = 4 << 20  # bytes; a multiple of every token size
INNER = "inner_separator"


class Rule(NamedTuple):
    """What the tokens of a dataset must be like whose sequences fill the .bin in order; None: not known."""

    dataset: Dataset
    vocab_size: int | None = None
    separator_id: int | None = None  # ends every document, and stands nowhere else
    padding: bool = False  # -1 is allowed


class Content(NamedTuple):
    """A file to read."""

    path: Path
    remedy: str
    digest: str | None = None  # sha256
    rule: Rule | None = None


class Finding(NamedTuple):
    """What one check found in one block."""

    check: str
    times: int
    what: str
    first: str


def read_content(content: Content, advance: Callable[[int], None]) -> list[Problem]:
    """The problems of one file, each with its count and its first place. `advance` gets the bytes of every block."""
    digest = hashlib.sha256()
    found: dict[str, Finding] = {}
    try:
        for start, block in _blocks(content.path):
            digest.update(block)
            for finding in _judge(content.rule, start, block) if content.rule else ():
                known = found.get(finding.check)
                found[finding.check] = known._replace(times=known.times + finding.times) if known else finding
            advance(len(block))
    except OSError as error:
        return [Problem(content.path, "file", f"it cannot be read ({error.strerror})", content.remedy)]
    said = {check: f"{times} {what}, the first {first}" for check, times, what, first in found.values()}
    if content.digest and digest.hexdigest() != content.digest:
        said["digest"] = f"its sha256 is {digest.hexdigest()[:16]}…, {content.digest[:16]}… expected"
    return [Problem(content.path, check, text, content.remedy) for check, text in said.items()]


def _blocks(path: Path) -> Iterator[tuple[int, memoryview]]:
    """Offset and bytes of each block; its memory is used again for the next."""
    buffer = memoryview(bytearray(BLOCK))
    start = 0
    with path.open("rb") as stream:
        while count := stream.readinto(buffer):
            yield start, buffer[:count]
            start += count


def _judge(rule: Rule, start: int, block: memoryview) -> Iterator[Finding]:
    """What is wrong with the tokens in the bytes from `start`."""
    dtype = rule.dataset.index.dtype
    tokens = np.frombuffer(block[: len(block) // dtype.itemsize * dtype.itemsize], dtype)

    def place(number: int) -> str:
        return f"{tokens[number]} at byte {start + number * dtype.itemsize}"

    limit = rule.vocab_size or np.iinfo(dtype).max + 1
    outside = tokens.view(f"<u{dtype.itemsize}") >= limit  # a negative one is a large unsigned one
    if rule.padding:
        outside &= tokens != -1
    if outside.any():
        yield Finding("tokens", int(outside.sum()), f"tokens outside [0, {limit})", place(int(outside.argmax())))
    if rule.separator_id is not None:
        separators = tokens == rule.separator_id
        ends = _document_ends(rule.dataset, start, start + len(block))
        missing = ends[~separators[ends]]
        if len(missing):
            what = f"documents do not end with token {rule.separator_id}"
            yield Finding("separator", len(missing), what, f"with {place(int(missing[0]))}")
        separators[ends] = False
        if separators.any():
            what = "separators inside documents"
            yield Finding(INNER, int(separators.sum()), what, place(int(separators.argmax())))


def _document_ends(dataset: Dataset, start: int, stop: int) -> NDArray[np.int64]:
    """The last token of each document that ends in the bytes from `start` to `stop`, counted from `start`."""
    index, boundaries = dataset.index, dataset.boundaries
    first, last = (bisect_right(boundaries, _ended(index, at)) - 1 for at in (start, stop))
    before, after = boundaries[first:last], boundaries[first + 1 : last + 1]
    final = after[after > before] - 1  # a document may have no sequence
    ends = index.pointers[final] + index.lengths[final].astype(np.int64) * index.dtype.itemsize
    return (ends - start) // index.dtype.itemsize - 1


def _ended(index: Index, at: int) -> int:
    """How many sequences lie before byte `at` as a whole."""
    return len(index.pointers) if at >= index.end else bisect_right(index.pointers, at) - 1
