"""A touched or copied file is the same, a rewritten one is not, and its name is said."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from data_prep.ingest.identity import identity, input_changed, sealed_identity
from data_prep.ingest.part import Part
from recipes.errors import UserError

ROWS = b"".join(b'{"text": "%d"}\n' % number for number in range(100))


def sealed(part: Part) -> dict[str, Any]:
    return json.loads(json.dumps(sealed_identity(part, identity(part))))


def touch(path: Path) -> None:
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1_000_000))


def rewrite(path: Path, content: bytes) -> None:
    before = path.stat().st_mtime_ns
    path.write_bytes(content)
    os.utime(path, ns=(0, before + 1_000_000))


def test_only_a_rewritten_part_has_changed(tmp_path: Path, read_source: Callable[..., Any]) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(ROWS)
    parts = read_source("a.jsonl", size=500).parts
    stored = [sealed(part) for part in parts]
    assert [input_changed(one, part).changed for one, part in zip(stored, parts, strict=True)] == [None] * len(parts)
    touch(path)
    again = [input_changed(one, part) for one, part in zip(stored, parts, strict=True)]
    assert [comparison.changed for comparison in again] == [None] * len(parts)
    assert [comparison.identity for comparison in again] == [sealed(part) for part in parts]
    rewrite(path, ROWS[:-4] + b'X"}\n')
    found = [input_changed(one, part).changed for one, part in zip(stored, parts, strict=True)]
    assert found == [None] * (len(parts) - 1) + ["a.jsonl"]


def test_the_line_that_reaches_into_the_next_part_counts(tmp_path: Path, read_source: Callable[..., Any]) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text": "long long long"}\n' * 2)
    parts = read_source("a.jsonl", size=20).parts
    stored = sealed(parts[0])
    rewrite(path, b'{"text": "long long lonX"}\n{"text": "long long long"}\n')
    assert input_changed(stored, parts[0]).changed == "a.jsonl"


def test_among_several_files_the_changed_one_is_named(tmp_path: Path, read_source: Callable[..., Any]) -> None:
    for name in "abc":
        (tmp_path / f"{name}.txt").write_bytes(b"text")
    (part,) = read_source("?.txt").parts
    stored = sealed(part)
    touch(tmp_path / "a.txt")
    rewrite(tmp_path / "b.txt", b"tExt")
    assert input_changed(stored, part).changed == "b.txt"
    (tmp_path / "a.txt").write_bytes(b"longer")
    assert input_changed(stored, part).changed == "a.txt"
    (tmp_path / "b.txt").unlink()
    with pytest.raises(UserError, match=r"b\.txt cannot be read"):
        input_changed(stored, part)


def test_other_files_or_cuts_are_a_change(tmp_path: Path, read_source: Callable[..., Any]) -> None:
    (tmp_path / "a.jsonl").write_bytes(ROWS)
    (tmp_path / "b.jsonl").write_bytes(ROWS)
    (first, second) = read_source("?.jsonl").parts
    assert input_changed(sealed(first), second).changed == "b.jsonl"
    assert input_changed(sealed(first), first._replace(stop=7)).changed == "a.jsonl"


def test_parquet_and_datasets(tmp_path: Path, read_source: Callable[..., Any], write_arrow: Any) -> None:
    table = pa.table({"text": [f"{number:09}" for number in range(900)]})
    parquet.write_table(table, tmp_path / "a.parquet", row_group_size=300, compression="none", use_dictionary=False)
    write_arrow(tmp_path / "ds" / "a.arrow", table, 300)
    (tmp_path / "ds" / "state.json").write_text(json.dumps({"_data_files": [{"filename": "a.arrow"}]}))
    for path, asked in ((tmp_path / "a.parquet", ["a.parquet"]), (tmp_path / "ds" / "a.arrow", [])):
        parts = read_source(*asked, size=1, **({} if asked else {"dataset": "ds"})).parts
        assert len(parts) == 3
        stored = sealed(parts[2])
        touch(path)
        assert input_changed(stored, parts[2]).changed is None
        content = path.read_bytes()
        rewrite(path, content.replace(b"000000777", b"000000778"))
        assert input_changed(stored, parts[2]).changed == parts[2].names[0]
        rewrite(path, bytes(len(content)))
        assert input_changed(stored, parts[2]).changed == parts[2].names[0]


def test_a_file_that_is_written_to_while_it_is_read(tmp_path: Path, read_source: Callable[..., Any]) -> None:
    (tmp_path / "a.jsonl").write_bytes(ROWS)
    (part,) = read_source("a.jsonl").parts
    before = identity(part)
    (tmp_path / "a.jsonl").write_bytes(ROWS + ROWS)
    with pytest.raises(UserError, match=r"a\.jsonl was written to while it was read"):
        sealed_identity(part, before)
