"""Megatron indexed datasets: PREFIX.bin holds the tokens of all documents, PREFIX.idx says where each document lies.

Byte layout as in Megatron-Core 0.15 `core/datasets/indexed_dataset.py` (`_IndexWriter`, `_IndexReader`), one sequence
per document. Pointers are explicit, so an index may list any documents of a shared .bin in any order: a slice.
"""

import hashlib
import itertools
import struct
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from data_prep.index_checks import bad_boundary, bad_length, chunks, gap, outside
from recipes.errors import UserError

MAGIC = b"MMIDIDX\0\0"
VERSION = 1
HEADER = struct.Struct("<9sQBQQ")  # magic, version, dtype code, sequences, documents + 1
DTYPES = {1: "<u1", 2: "<i1", 3: "<i2", 4: "<i4", 5: "<i8", 8: "<u2"}
CODES = {np.dtype(name): code for code, name in DTYPES.items()}
U16_BELOW = 65_500  # vocabulary size from which Megatron's own writer takes int32


class IndexedDatasetError(UserError):
    """A .bin/.idx pair that is not what it says: the file, which `check` failed, and what was `found`."""

    def __init__(self, path: Path, check: str, found: str) -> None:
        super().__init__(f"{path}: {check} check failed, {found}; build this file again.")
        self.path, self.check, self.found = path, check, found


class Index(NamedTuple):
    """What an .idx lists, in its order."""

    dtype: np.dtype  # of the tokens in .bin
    lengths: NDArray[np.int32]  # [documents], tokens
    pointers: NDArray[np.int64]  # [documents], bytes from the start of .bin

    @property
    def tokens(self) -> int:
        return int(self.lengths.sum(dtype=np.int64))

    @property
    def end(self) -> int:
        """Bytes of .bin up to the end of the last sequence."""
        return int(self.pointers[-1]) + int(self.lengths[-1]) * self.dtype.itemsize if len(self.lengths) else 0


def index_file(prefix: Path) -> Path:
    return prefix.with_name(f"{prefix.name}.idx")


def data_file(prefix: Path) -> Path:
    return prefix.with_name(f"{prefix.name}.bin")


def token_dtype(vocab_size: int) -> np.dtype:
    """The dtype that Megatron's writer chooses for token ids below `vocab_size`."""
    return np.dtype("<u2" if vocab_size < U16_BELOW else "<i4")


def read_index(prefix: Path, whole: bool = True) -> Index:
    """Map an .idx with one sequence per document and check its structure against the .bin; no token is read.

    Args:
        prefix: path without suffix.
        whole: the index must list the .bin from first to last byte, in order (a shard); False for a slice.

    Raises:
        IndexedDatasetError: a check failed: file, header, magic, version, dtype, size, documents, lengths or pointers.
    """
    index, boundaries = map_index(prefix)
    for fault in chain(index_faults(prefix, index, boundaries), place_faults(prefix, index, whole)):
        raise fault
    return index


def map_index(prefix: Path) -> tuple[Index, NDArray[np.int64]]:
    """Map an .idx of any Megatron dataset: its sequences, and [documents + 1] the first sequence of each document.

    Raises:
        IndexedDatasetError: it cannot be told apart: file, header, magic, version, dtype or size.
    """
    path = index_file(prefix)
    content = _mapped(path)
    if len(content) < HEADER.size:
        raise IndexedDatasetError(path, "header", f"the file has {len(content)} bytes, at least {HEADER.size} expected")
    magic, version, code, count, ends = HEADER.unpack(content[: HEADER.size].tobytes())
    if magic != MAGIC:
        raise IndexedDatasetError(path, "magic", f"the file starts with {magic!r}, {MAGIC!r} expected")
    if version != VERSION:
        raise IndexedDatasetError(path, "version", f"found {version}, {VERSION} expected")
    if code not in DTYPES:
        raise IndexedDatasetError(path, "dtype", f"found code {code}, one of {sorted(DTYPES)} expected")
    expected = HEADER.size + 12 * count + 8 * ends
    if len(content) not in (expected, expected + count):  # with one byte more per sequence: its mode, if multimodal
        found = f"{len(content)} bytes for {count} sequences and {ends} document boundaries, {expected} expected"
        raise IndexedDatasetError(path, "size", found)
    first = HEADER.size
    lengths = np.frombuffer(content, "<i4", count, first)
    pointers = np.frombuffer(content, "<i8", count, first + 4 * count)
    boundaries = np.frombuffer(content, "<i8", ends, first + 12 * count)
    return Index(np.dtype(DTYPES[code]), lengths, pointers), boundaries


def index_faults(
    prefix: Path, index: Index, boundaries: NDArray[np.int64], single: bool = True
) -> Iterator[IndexedDatasetError]:
    """The first fault of each check of a mapped index in itself; `single`: every document is one sequence."""
    path = index_file(prefix)
    if found := bad_boundary(boundaries, len(index.lengths), single):
        yield IndexedDatasetError(path, "documents", found)
    elif single and path.stat().st_size != index_bytes(len(index.lengths)):
        yield IndexedDatasetError(path, "size", "one byte per sequence follows, as in a multimodal dataset")
    if found := bad_length(index.lengths):
        yield IndexedDatasetError(path, "lengths", found)


def place_faults(prefix: Path, index: Index, whole: bool = True) -> Iterator[IndexedDatasetError]:
    """Whether the sequences fill the .bin in order (`whole`), or at least lie within it."""
    path, itemsize = data_file(prefix), index.dtype.itemsize
    try:
        size = path.stat().st_size
    except OSError as error:
        yield _unreadable(path, error)
        return
    if whole:
        found = gap(index.lengths, index.pointers, itemsize)
    else:
        found = outside(index.lengths, index.pointers, itemsize, size)
    if found:
        yield IndexedDatasetError(index_file(prefix), "pointers", found)
    elif whole and index.end != size:
        yield IndexedDatasetError(path, "size", f"it has {size} bytes, its .idx lists {index.end}")


def index_bytes(documents: int) -> int:
    """Size of an .idx: header, 20 bytes per document, and one more document boundary."""
    return HEADER.size + 20 * documents + 8


def read_tokens(prefix: Path, index: Index) -> NDArray[np.integer]:
    """All tokens of PREFIX.bin, mapped: [tokens in .bin], `index.dtype`."""
    return _mapped(data_file(prefix)).view(index.dtype)


def read_document(tokens: NDArray[np.integer], index: Index, number: int) -> NDArray[np.integer]:
    """Tokens of the document listed at `number`, separator included."""
    start = int(index.pointers[number]) // index.dtype.itemsize
    return tokens[start : start + int(index.lengths[number])]


def write_index(prefix: Path, dtype: np.dtype, lengths: NDArray[np.integer], pointers: NDArray[np.integer]) -> str:
    """Write PREFIX.idx that lists `lengths` (tokens) and `pointers` (bytes), one document each; returns its sha256."""
    count = len(lengths)
    return write_pieces(
        prefix, dtype, count, (lengths[part] for part in chunks(count)), (pointers[part] for part in chunks(count))
    )


def write_shard_index(prefix: Path, dtype: np.dtype, lengths: NDArray[np.integer]) -> str:
    """Write PREFIX.idx of a .bin whose documents of `lengths` tokens lie one after the other; returns its sha256."""
    count = len(lengths)
    return write_pieces(prefix, dtype, count, (lengths[part] for part in chunks(count)), _pointers(dtype, lengths))


def write_pieces(
    prefix: Path,
    dtype: np.dtype,
    count: int,
    lengths: Iterable[NDArray[np.integer]],
    pointers: Iterable[NDArray[np.integer]],
) -> str:
    """Write PREFIX.idx of `count` documents, whose lengths and pointers come piece by piece; returns its sha256."""
    content: Iterator[bytes | memoryview] = itertools.chain(
        [HEADER.pack(MAGIC, VERSION, CODES[dtype], count, count + 1)],
        (piece.astype("<i4").data for piece in lengths),
        (piece.astype("<i8").data for piece in pointers),
        (np.arange(part.start, part.stop, dtype="<i8").data for part in chunks(count + 1)),
    )
    sha = hashlib.sha256()
    with index_file(prefix).open("wb") as stream:
        for piece in content:
            stream.write(piece)
            sha.update(piece)
    return sha.hexdigest()


def _pointers(dtype: np.dtype, lengths: NDArray[np.integer]) -> Iterator[NDArray[np.int64]]:
    end = 0
    for part in chunks(len(lengths)):
        sizes = lengths[part].astype(np.int64) * dtype.itemsize
        ends = end + np.cumsum(sizes)
        yield ends - sizes
        end = int(ends[-1])


class ShardWriter:
    """Streams documents into PREFIX.bin; on a clean exit writes PREFIX.idx. Memory: 8 bytes per document."""

    def __init__(self, prefix: Path, dtype: np.dtype) -> None:
        self.prefix, self.dtype = prefix, dtype
        self._stream = data_file(prefix).open("wb")
        self._lengths: list[NDArray[np.int64]] = []
        self._hash = hashlib.sha256()

    def append(self, tokens: NDArray[np.integer], lengths: NDArray[np.integer]) -> None:
        """Add documents: `tokens` [sum of lengths] one after the other, `lengths` [documents]."""
        content = tokens.astype(self.dtype).data
        self._stream.write(content)  # not tofile: it hides errno, and with it a full disk
        self._hash.update(content)
        self._lengths.append(lengths.astype(np.int64))

    @property
    def lengths(self) -> NDArray[np.int64]:
        """[documents], tokens."""
        return np.concatenate(self._lengths) if self._lengths else np.zeros(0, np.int64)

    @property
    def digest(self) -> str:
        """sha256 of the .bin."""
        return self._hash.hexdigest()

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()
        if kind is None:
            write_shard_index(self.prefix, self.dtype, self.lengths)


def _mapped(path: Path) -> NDArray[np.uint8]:
    try:
        if path.stat().st_size == 0:
            return np.zeros(0, np.uint8)
        return np.memmap(path, np.uint8, "r")
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> IndexedDatasetError:
    return IndexedDatasetError(path, "file", f"it cannot be read ({error.strerror})")
