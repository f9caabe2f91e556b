"""A cleaned part on disk: documents.parquet (text, file, line), digests.npy, and MinHash signatures where asked for."""

from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from data_prep.digest import content_digest
from data_prep.ingest.document import Document

DOCUMENTS = "documents.parquet"
DIGESTS = "digests.npy"  # uint64 [documents]
SIGNATURES = "signatures.npy"  # [documents, …]
BATCH_CHARACTERS = 8_000_000  # of text in memory at once, and a document more

# What a mask says of a document, uint8.
TRAINING, HELD_OUT, DUPLICATE, NEAR_DUPLICATE, SEMANTIC_DUPLICATE, CONTAMINATED = range(6)
REASONS = {
    DUPLICATE: "duplicate",
    NEAR_DUPLICATE: "near_duplicate",
    SEMANTIC_DUPLICATE: "semantic_duplicate",
    CONTAMINATED: "contaminated",
}

Sign = Callable[[Sequence[str]], NDArray[np.generic]]


class CleanedPart(NamedTuple):
    """A cleaned part, and what was decided of its documents."""

    folder: Path
    mask: Path  # uint8 [documents]

    def kept(self) -> Iterator[tuple[Document, bool]]:
        """The documents that stay, each with whether it is held out."""
        decided = np.load(self.mask)
        for number, document in enumerate(read_cleaned(self.folder)):
            if decided[number] <= HELD_OUT:
                yield document, bool(decided[number] == HELD_OUT)


def read_cleaned(folder: Path) -> Iterator[Document]:
    """All documents of a cleaned part."""
    from pyarrow import parquet

    with parquet.ParquetFile(folder / DOCUMENTS) as file:
        for batch in file.iter_batches(batch_size=1024):
            columns = [batch.column(name).to_pylist() for name in Document._fields]
            yield from map(Document, *columns)


def rows(folder: Path, numbers: Sequence[int]) -> list[Document]:
    """Some documents of a cleaned part, by number, ascending; only their row groups are read."""
    from pyarrow import parquet

    found: list[Document] = []
    wanted = list(numbers)
    with parquet.ParquetFile(folder / DOCUMENTS) as file:
        first = 0
        for group in range(file.num_row_groups):
            end = first + file.metadata.row_group(group).num_rows
            inside = [number - first for number in wanted if first <= number < end]
            if inside:
                table = file.read_row_group(group).take(inside)
                found += map(Document, *(table.column(name).to_pylist() for name in Document._fields))
            first = end
    return found


class CleanedWriter:
    """Writes a cleaned part into `folder`, in batches; on a clean exit its arrays too."""

    def __init__(self, folder: Path, sign: Sign | None) -> None:
        import pyarrow
        from pyarrow import parquet

        self._folder, self._sign = folder, sign
        fields = {"text": pyarrow.large_string(), "file": pyarrow.string(), "line": pyarrow.int64()}
        self._schema = pyarrow.schema(fields)
        self._parquet = parquet.ParquetWriter(
            folder / DOCUMENTS, self._schema, compression="zstd", compression_level=1, use_dictionary=["file"]
        )
        self._batch: list[Document] = []
        self._characters = 0
        self._digests = array("Q")
        self._signatures: list[NDArray[np.generic]] = []

    @property
    def documents(self) -> int:
        return len(self._digests) + len(self._batch)

    def add(self, document: Document) -> None:
        self._batch.append(document)
        self._characters += len(document.text)
        if self._characters >= BATCH_CHARACTERS:
            self._flush()

    def _flush(self) -> None:
        import pyarrow

        columns = dict(zip(Document._fields, zip(*self._batch, strict=True), strict=True))
        self._parquet.write_table(pyarrow.table(columns, self._schema))
        texts = columns["text"]
        self._digests.extend(map(content_digest, texts))
        if self._sign:
            self._signatures.append(self._sign(texts))
        self._batch, self._characters = [], 0

    def __enter__(self) -> "CleanedWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and self._batch:
            self._flush()
        self._parquet.close()
        if kind is None:
            np.save(self._folder / DIGESTS, np.frombuffer(self._digests, np.uint64))
            if self._sign:
                np.save(self._folder / SIGNATURES, np.concatenate(self._signatures or [self._sign([])]))
