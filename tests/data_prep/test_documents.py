"""Bad lines are counted and named, good ones around them are read."""

import gzip
import json
from pathlib import Path

import pytest

from data_prep.documents import EXAMPLES, Dropped, read_documents
from recipes.errors import UserError

BAD = [
    (b"{nothing", "not_json"),
    (b"[" * 100_000, "not_json"),
    (b'{"text": "\xff"}', "invalid_utf8"),
    (b'{"text": "\\ud800"}', "invalid_utf8"),
    (b'{"body": "x"}', "no_text"),
    (b'{"text": null}', "no_text"),
    (b'{"text": ""}', "no_text"),
    (b'["text"]', "no_text"),
]


@pytest.mark.parametrize(("line", "reason"), BAD, ids=range(len(BAD)))
@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz"])
def test_a_bad_line_is_counted_and_named(tmp_path: Path, line: bytes, reason: str, suffix: str) -> None:
    content = b'{"text": "bir"}\n\n' + line + b'\n{"text": "iki"}'
    path = tmp_path / f"laws{suffix}"
    path.write_bytes(gzip.compress(content) if suffix.endswith("gz") else content)
    dropped = Dropped()
    found = list(read_documents(path, "text", dropped))
    assert [(document.text, document.place) for document in found] == [
        ("bir", f"laws{suffix}:1"),
        ("iki", f"laws{suffix}:4"),
    ]
    assert dropped.counts == {reason: 1}
    assert dropped.examples == {reason: [f"laws{suffix}:3"]}


def test_byte_order_mark_and_windows_newlines(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'\xef\xbb\xbf{"text": "a"}\r\n{"text": "b"}\r\n')
    dropped = Dropped()
    assert [document.text for document in read_documents(tmp_path / "a.jsonl", "text", dropped)] == ["a", "b"]
    assert not dropped.counts


@pytest.mark.parametrize("keep", [0.3, 0.9])
def test_a_truncated_gzip_is_read_up_to_the_damage(tmp_path: Path, keep: float) -> None:
    rows = "".join(json.dumps({"text": f"{number} {number**9}"}) + "\n" for number in range(20_000)).encode()
    whole = gzip.compress(rows)
    (tmp_path / "a.jsonl.gz").write_bytes(whole[: int(keep * len(whole))])
    dropped = Dropped()
    found = list(read_documents(tmp_path / "a.jsonl.gz", "text", dropped))
    assert 1_000 < len(found) < 20_000
    assert [document.text for document in found] == [f"{number} {number**9}" for number in range(len(found))]
    assert dropped.examples["damaged_gzip"] == [f"a.jsonl.gz:{len(found) + 1}"]


def test_what_is_no_gzip_at_all_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(b'{"text": "a"}\n')
    dropped = Dropped()
    assert not list(read_documents(tmp_path / "a.jsonl.gz", "text", dropped))
    assert dropped.examples["damaged_gzip"] == ["a.jsonl.gz:1"]


def test_named_places_are_bounded_and_counts_are_not(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"x\n" * 1_000)
    dropped = Dropped()
    list(read_documents(tmp_path / "a.jsonl", "text", dropped))
    assert dropped.counts["not_json"] == 1_000
    assert len(dropped.examples["not_json"]) == EXAMPLES


def test_a_missing_file_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.jsonl cannot be read"):
        list(read_documents(tmp_path / "none.jsonl", "text", Dropped()))
