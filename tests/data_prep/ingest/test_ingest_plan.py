"""Parts depend on the files alone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from data_prep.ingest.plan import part_size
from recipes.errors import UserError


def test_the_size_of_parts() -> None:
    assert part_size(0) == part_size(100 << 20) == 8 << 20
    assert part_size(64 * (20 << 20)) == part_size(64 * (31 << 20)) == 16 << 20
    assert part_size(800 << 30) == 1 << 30


def test_parts_of_a_mixed_source_are_in_order(tmp_path: Path, read_source: Callable[..., Any]) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "b.jsonl").write_bytes(b'{"text": "bir"}\n' * 10)
    for name in ("c.txt", "d.txt", "e.txt"):
        (tmp_path / "in" / name).write_bytes(b"twelve bytes")
    found = read_source("in/*.jsonl", "in/*.txt", size=70)
    assert [(part.names, part.start, part.stop) for part in found.parts] == [
        (("in/b.jsonl",), 0, 70),
        (("in/b.jsonl",), 70, 140),
        (("in/b.jsonl",), 140, 160),
        (("in/c.txt", "in/d.txt", "in/e.txt"), 0, 0),
    ]
    assert [(part.source, part.number, part.kind, part.size) for part in found.parts] == [
        ("laws", 0, "jsonl", 70),
        ("laws", 1, "jsonl", 70),
        ("laws", 2, "jsonl", 20),
        ("laws", 3, "text", 36),
    ]
    assert found.texts == ["bir"] * 10 + ["twelve bytes"] * 3


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst", "a.parquet", "a.txt"])
def test_a_file_that_goes_away_is_a_sentence(tmp_path: Path, read_source: Callable[..., Any], name: str) -> None:
    from data_prep.ingest.document import Dropped
    from data_prep.ingest.read import read_part

    (tmp_path / name).write_bytes(b"")
    parts = read_source(name).parts
    (tmp_path / name).unlink()
    with pytest.raises(UserError, match=rf"{name} cannot be read \(No such file or directory\); mend `files`"):
        list(read_part(parts[0], "text", Dropped()))
