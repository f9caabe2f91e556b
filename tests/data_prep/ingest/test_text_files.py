"""A text file is one document, and what is not UTF-8 is named instead of guessed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

from data_prep.ingest import text_files


def test_one_document_a_file_in_order(tmp_path: Path, read_source: Callable[..., Any]) -> None:
    (tmp_path / "theses" / "b").mkdir(parents=True)
    (tmp_path / "theses" / "a.txt").write_bytes(b"\xef\xbb\xbfbir\r\n\r\n")
    (tmp_path / "theses" / "b" / "c.txt").write_bytes("şey\n".encode())
    (tmp_path / "theses" / "d.md").write_bytes(b"# iki")
    found = read_source("theses/**/*.txt", "theses/*.md", size=10)
    assert found.documents == [
        ("bir\r\n\r\n", "theses/a.txt", 1),
        ("şey\n", "theses/b/c.txt", 1),
        ("# iki", "theses/d.md", 1),
    ]
    assert [part.names for part in found.parts] == [("theses/a.txt",), ("theses/b/c.txt", "theses/d.md")]
    assert found.dropped[1].lines == {"theses/b/c.txt": 1, "theses/d.md": 1}


def test_what_is_of_no_use_is_named(tmp_path: Path, read_source: Callable[..., Any]) -> None:
    (tmp_path / "a.txt").write_bytes("bir\niki şey\n".encode("cp1254"))
    (tmp_path / "b.txt").write_bytes(b"")
    (tmp_path / "c.txt").write_bytes(b"bir\niki\n" + bytes(50))
    (tmp_path / "d.txt").write_bytes(b"x" * 101)
    (tmp_path / "e.txt").write_bytes(b"x" * 100)
    with mock.patch.object(text_files, "LARGEST", 100):
        found = read_source("?.txt")
    assert found.texts == ["x" * 100]
    assert found.places == [
        ("invalid_utf8", "a.txt", 2),
        ("no_text", "b.txt", 1),
        ("damaged_text", "c.txt", 3),
        ("too_large", "d.txt", 1),
    ]
    assert found.dropped[0].examples["invalid_utf8"][0].excerpt == "iki �ey\n"
