"""Bad lines are counted and named, good ones around them are read, and cutting a file changes nothing."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_prep.ingest import json_lines
from data_prep.ingest.document import EXAMPLES

BAD = [
    (b"{nothing", "not_json"),
    (b"\0" * 50, "not_json"),
    (b"[" * 100_000, "not_json"),
    (b'{"text": "a tab:\t"}', "not_json"),
    (b'{"text": "bir"}{"text": "iki"}', "not_json"),
    (b'{"text": "\xff"}', "invalid_utf8"),
    (b'{"text": "\xed\xa0\x80"}', "invalid_utf8"),
    (b'{"text": "\\ud800"}', "invalid_utf8"),
    (b'{"body": "x"}', "no_text"),
    (b'{"text": null}', "no_text"),
    (b'{"text": 7}', "no_text"),
    (b'{"text": ""}', "no_text"),
    (b'["text"]', "no_text"),
    (b'{"text": ["x"], "rate": NaN}', "no_text"),
]
SUFFIXES = (".jsonl", ".jsonl.gz", ".jsonl.zst")
TEXTS = [f"{number} ğ {number**9}" for number in range(20_000)]
ROWS = "".join(json.dumps({"text": text}) + "\n" for text in TEXTS).encode()


def packed(content: bytes, suffix: str) -> bytes:
    if suffix == ".jsonl.gz":
        return gzip.compress(content)
    return pa.compress(content, codec="zstd", asbytes=True) if suffix == ".jsonl.zst" else content


@pytest.mark.parametrize(("line", "reason"), BAD, ids=range(len(BAD)))
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_bad_line_is_counted_and_named(
    tmp_path: Path, read_source: Callable[..., Any], line: bytes, reason: str, suffix: str
) -> None:
    content = b'{"text": "bir"}\n\n' + line + b'\n \t\n{"text": "iki"}'
    (tmp_path / f"laws{suffix}").write_bytes(packed(content, suffix))
    found = read_source(f"laws{suffix}")
    assert found.documents == [("bir", f"laws{suffix}", 1), ("iki", f"laws{suffix}", 5)]
    assert found.places == [(reason, f"laws{suffix}", 3)]
    assert found.dropped[0].examples[reason][0].excerpt == line.decode("utf-8", "replace")[:400]
    assert found.dropped[0].lines == {f"laws{suffix}": 5}


@pytest.mark.parametrize(
    "row", [b'{"rate": NaN, "text": "x"}', b'{"rate": 1e999, "text": "x"}', b'\xef\xbb\xbf{"text": "x"}']
)
def test_what_python_reads_is_of_use(tmp_path: Path, read_source: Callable[..., Any], row: bytes) -> None:
    (tmp_path / "a.jsonl").write_bytes(row + b"\r\n" + row)
    found = read_source("a.jsonl")
    assert found.texts == ["x", "x"]
    assert not found.places


VALUES = st.text(st.characters(), max_size=3) | st.none() | st.floats() | st.lists(st.integers(), max_size=2)
ROWS_OF_ANY_KIND = st.dictionaries(st.sampled_from(["text", "id"]), VALUES, max_size=2)
PIECES = [
    b'"text":',
    b'"',
    b"\\",
    b"u00fc",
    b"ud83d",
    b"n",
    b"\xc5\x9f",
    b"\xc3",
    b"\xff",
    b"\t",
    b"}",
    b"1,",
    b"\r",
    b"NaN",
]


@given(
    row=ROWS_OF_ANY_KIND,
    ascii_only=st.booleans(),
    place=st.integers(0, 30),
    damage=st.just(b"") | st.lists(st.sampled_from(PIECES), max_size=4).map(b"".join),
)
def test_a_line_is_what_python_reads(row: dict[str, Any], ascii_only: bool, place: int, damage: bytes) -> None:
    line = json.dumps(row, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    line = line[:place] + damage + line[place:]
    expected = json_lines._second_look(line.strip(), "text")
    assert json_lines._text(line, "text", json_lines._parser("text")) == expected


def test_only_a_newline_ends_a_line(tmp_path: Path, read_source: Callable[..., Any]) -> None:
    text = "a\u2028b\u0085c"
    (tmp_path / "a.jsonl").write_bytes(json.dumps({"text": text}, ensure_ascii=False).encode() + b"\n")
    assert read_source("a.jsonl").texts == [text]


LINES = st.one_of(
    st.text(max_size=30).map(lambda text: json.dumps({"text": text}, ensure_ascii=False).encode()),
    st.sampled_from([b"", b" ", b"{broken", b'{"text": "' + b"x" * 200 + b'"}', b'\xef\xbb\xbf{"text": "bom"}']),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(LINES, max_size=12),
    end=st.sampled_from([b"\n", b"\r\n"]),
    last=st.booleans(),
    size=st.integers(1, 300),
)
def test_parts_in_order_are_the_whole_file(
    tmp_path: Path, read_source: Callable[..., Any], rows: list[bytes], end: bytes, last: bool, size: int
) -> None:
    (tmp_path / "a.jsonl").write_bytes(end.join(rows) + end * last)
    whole, cut = read_source("a.jsonl"), read_source("a.jsonl", size=size)
    assert len(whole.parts) == 1
    assert cut.texts == whole.texts
    assert (
        sum((dropped.counts for dropped in cut.dropped), start=type(whole.dropped[0].counts)())
        == whole.dropped[0].counts
    )
    before, lines = 0, []
    for dropped in cut.dropped:
        lines += [before + example.line for some in dropped.examples.values() for example in some]
        before += dropped.lines["a.jsonl"]
    assert before == whole.dropped[0].lines["a.jsonl"]
    assert sorted(lines) == sorted(line for _, _, line in whole.places)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("size", [8 << 20, 5])
def test_a_too_large_line_is_named_and_skipped(
    tmp_path: Path, read_source: Callable[..., Any], suffix: str, size: int
) -> None:
    content = b'{"text": "bir"}\n{"text": "' + b"x" * 3_000_000 + b'"}\n{"text": "iki"}\n'
    (tmp_path / f"a{suffix}").write_bytes(packed(content, suffix))
    with mock.patch.object(json_lines, "LARGEST", 1_000_000), mock.patch("data_prep.ingest.plan.PARTS", 4):
        found = read_source(f"a{suffix}", size=max(size, len(content) // 50))
    assert found.texts == ["bir", "iki"]
    assert [reason for reason, _, _ in found.places] == ["too_large"]
    assert sum(dropped.lines[f"a{suffix}"] for dropped in found.dropped) == 3


@pytest.mark.parametrize("keep", [0.3, 0.9])
@pytest.mark.parametrize("suffix", [".jsonl.gz", ".jsonl.zst"])
def test_a_truncated_file_is_read_up_to_the_damage(
    tmp_path: Path, read_source: Callable[..., Any], suffix: str, keep: float
) -> None:
    whole = packed(ROWS, suffix)
    (tmp_path / f"a{suffix}").write_bytes(whole[: int(keep * len(whole))])
    found = read_source(f"a{suffix}")
    assert len(found.texts) > (keep - 0.2) * len(TEXTS)
    assert found.texts == TEXTS[: len(found.texts)]
    reason = {".jsonl.gz": "damaged_gzip", ".jsonl.zst": "damaged_zstd"}[suffix]
    assert found.places == [(reason, f"a{suffix}", len(found.texts) + 1)]


@pytest.mark.parametrize("suffix", [".jsonl.gz", ".jsonl.zst"])
def test_members_one_after_the_other(tmp_path: Path, read_source: Callable[..., Any], suffix: str) -> None:
    (tmp_path / f"a{suffix}").write_bytes(packed(ROWS[:100], suffix) + packed(ROWS[100:], suffix))
    found = read_source(f"a{suffix}")
    assert found.texts == TEXTS
    assert not found.places


@pytest.mark.parametrize("suffix", [".jsonl.gz", ".jsonl.zst"])
def test_what_is_not_compressed_at_all_is_named(tmp_path: Path, read_source: Callable[..., Any], suffix: str) -> None:
    (tmp_path / f"a{suffix}").write_bytes(b'{"text": "a"}\n')
    found = read_source(f"a{suffix}")
    assert not found.texts
    assert [(file, line) for _, file, line in found.places] == [(f"a{suffix}", 1)]


def test_examples_are_bounded_and_counts_are_not(tmp_path: Path, read_source: Callable[..., Any]) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"x\n" * 1_000)
    dropped = read_source("a.jsonl").dropped[0]
    assert dropped.counts["not_json"] == 1_000
    assert len(dropped.examples["not_json"]) == EXAMPLES


def test_empty_files_have_no_documents(tmp_path: Path, read_source: Callable[..., Any]) -> None:
    for suffix in SUFFIXES:
        (tmp_path / f"a{suffix}").write_bytes(b"")
    found = read_source(*(f"a{suffix}" for suffix in SUFFIXES))
    assert len(found.parts) == 3
    assert not found.documents
    assert not found.places
