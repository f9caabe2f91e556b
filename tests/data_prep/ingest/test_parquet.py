"""Parquet: only the text column, cut by row groups, and a damaged row group loses itself alone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa
import pytest
from pyarrow import parquet

from data_prep.ingest import column
from recipes.errors import UserError

TEXTS = [f"satır {number} " * 20 for number in range(2_000)]


def write(path: Path, texts: Any = TEXTS, kind: pa.DataType | None = None, **settings: Any) -> None:
    values = pa.array(texts, kind)
    table = pa.table({"id": pa.array(range(len(values))), "text": values})
    parquet.write_table(table, path, **{"row_group_size": 300, **settings})


KINDS = [pa.string(), pa.large_string(), pa.binary(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_every_kind_of_text_column(tmp_path: Path, read_source: Callable[..., Any], kind: pa.DataType) -> None:
    texts = ["bir", None, "", "üç", "bir"]
    values = pa.array(texts).dictionary_encode() if pa.types.is_dictionary(kind) else pa.array(texts, kind)
    parquet.write_table(pa.table({"text": values}), tmp_path / "a.parquet")
    found = read_source("a.parquet")
    assert found.documents == [("bir", "a.parquet", 1), ("üç", "a.parquet", 4), ("bir", "a.parquet", 5)]
    assert found.places == [("no_text", "a.parquet", 2), ("no_text", "a.parquet", 3)]
    assert found.dropped[0].lines == {"a.parquet": 5}


@pytest.mark.parametrize("size", [1, 10_000, 40_000, 10**7])
def test_parts_in_order_are_the_whole_file(tmp_path: Path, read_source: Callable[..., Any], size: int) -> None:
    write(tmp_path / "a.parquet", compression="none", use_dictionary=False)
    found = read_source("a.parquet", size=size)
    assert found.texts == TEXTS
    assert len(found.parts) > 1 or size == 10**7
    assert [part.start for part in found.parts[1:]] == [part.stop for part in found.parts[:-1]]
    assert sum(dropped.lines["a.parquet"] for dropped in found.dropped) == len(TEXTS)


def test_rows_of_no_use_are_named(tmp_path: Path, read_source: Callable[..., Any]) -> None:
    write(tmp_path / "a.parquet", [b"bir", b"\xfe", b"x" * 101, b"x" * 100], pa.binary())
    with mock.patch.object(column, "LARGEST", 100):
        found = read_source("a.parquet")
    assert found.texts == ["bir", "x" * 100]
    assert found.places == [("invalid_utf8", "a.parquet", 2), ("too_large", "a.parquet", 3)]


def test_a_column_of_numbers_is_no_text(tmp_path: Path, read_source: Callable[..., Any]) -> None:
    write(tmp_path / "a.parquet")
    assert read_source("a.parquet", text_field="id").dropped[0].counts == {"no_text": len(TEXTS)}


def test_a_missing_column_is_a_sentence_with_those_there_are(tmp_path: Path, read_source: Callable[..., Any]) -> None:
    write(tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"a\.parquet has no column 'body'; set `text_field` to one of id, text\."):
        read_source("a.parquet", text_field="body")


@pytest.mark.parametrize("size", [1, 10**9])
def test_a_damaged_row_group_is_named_and_the_others_are_read(
    tmp_path: Path, read_source: Callable[..., Any], size: int
) -> None:
    path = tmp_path / "a.parquet"
    write(path, compression="zstd", use_dictionary=False)
    place = parquet.ParquetFile(path).metadata.row_group(2).column(1)
    content = bytearray(path.read_bytes())
    middle = place.data_page_offset + place.total_compressed_size // 2
    content[middle : middle + 20] = bytes(20)
    path.write_bytes(content)
    found = read_source("a.parquet", size=size)
    assert found.texts == TEXTS[:600] + TEXTS[900:]
    (where,) = [dropped.examples["damaged_parquet"] for dropped in found.dropped if dropped.counts]
    assert where[0].excerpt.startswith("row group 2: ")
    assert sum(dropped.lines["a.parquet"] for dropped in found.dropped) == len(TEXTS)


@pytest.mark.parametrize("keep", [0, 3, 0.5, 0.99])
def test_a_truncated_file_is_named(tmp_path: Path, read_source: Callable[..., Any], keep: float) -> None:
    path = tmp_path / "a.parquet"
    write(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content)) if keep < 1 else int(keep)])
    found = read_source("a.parquet", size=1)
    assert not found.texts
    assert found.places == [("damaged_parquet", "a.parquet", 1)]
