"""Sources of every format, and their documents as the parts give them."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pytest

from data_prep.corpus import Source
from data_prep.ingest import plan
from data_prep.ingest.document import Document, Dropped
from data_prep.ingest.part import Part
from data_prep.ingest.plan import plan_parts
from data_prep.ingest.read import read_part


class Read(NamedTuple):
    """What came of a source."""

    parts: list[Part]
    documents: list[Document]  # of all parts, in order
    dropped: list[Dropped]  # per part

    @property
    def texts(self) -> list[str]:
        return [document.text for document in self.documents]

    @property
    def places(self) -> list[tuple[str, str, int]]:
        """Reason, file and line of all that was left out."""
        return [(reason, e.file, e.line) for d in self.dropped for reason, some in d.examples.items() for e in some]


ReadSource = Callable[..., Read]
WriteArrow = Callable[..., None]


@pytest.fixture
def read_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ReadSource:
    """Plan and read `files` or a `dataset` in tmp_path, in parts of about `size` bytes."""

    def read(*files: str, size: int = plan.SMALLEST, text_field: str = "text", **settings: str) -> Read:
        monkeypatch.setattr(plan, "SMALLEST", size)
        source = Source(name="laws", domain="law", language="tr", licence="none", files=list(files), **settings)
        parts = plan_parts(tmp_path / "corpus.yaml", source)
        documents: list[Document] = []
        dropped = [Dropped() for _ in parts]
        for part, left_out in zip(parts, dropped, strict=True):
            documents += read_part(part, text_field, left_out)
        return Read(parts, documents, dropped)

    return read


@pytest.fixture
def write_arrow() -> WriteArrow:
    """Write an Arrow stream, as `datasets` does."""

    def write(path: Path, table: pa.Table, rows: int = 1000) -> None:
        path.parent.mkdir(exist_ok=True)
        with pa.OSFile(str(path), "wb") as stream, pa.ipc.new_stream(stream, table.schema) as writer:
            writer.write_table(table, max_chunksize=rows)

    return write
