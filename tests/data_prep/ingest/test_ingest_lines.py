"""Lines are the same however the bytes come in, and a part's lines are those that start in it."""

import itertools
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.ingest import lines as module
from data_prep.ingest.lines import file_blocks, line_range, lines

CONTENT = st.lists(st.binary(max_size=12) | st.just(b"\n") | st.just(b"\r\n"), max_size=12).map(b"".join)


@given(content=CONTENT, cuts=st.lists(st.integers(0, 150)))
def test_lines_do_not_depend_on_blocks(content: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(content)]
    blocks = [content[begin:end] for begin, end in itertools.pairwise(edges)]
    assert list(lines(blocks, 1000)) == [line + b"\n" for line in content.split(b"\n")[:-1]] + [
        last for last in content.split(b"\n")[-1:] if last
    ]


@given(lengths=st.lists(st.integers(0, 60), min_size=1), block=st.integers(1, 9), limit=st.integers(0, 40))
def test_a_long_line_is_bounded_and_known(lengths: list[int], block: int, limit: int) -> None:
    content = b"".join(b"x" * length + b"\n" for length in lengths)
    blocks = [content[begin : begin + block] for begin in range(0, len(content), block)]
    found = [line.removesuffix(b"\n") for line in lines(blocks, limit)]
    assert [min(len(line), limit + 1) for line in found] == [min(length, limit + 1) for length in lengths]
    assert all(len(line) <= limit + 2 * block for line in found)


@given(content=CONTENT, size=st.integers(1, 30), block=st.integers(1, 7))
def test_every_byte_is_in_one_part(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, size: int, block: int
) -> None:
    path: Path = tmp_path_factory.getbasetemp() / "lines"
    path.write_bytes(content)
    starts = range(0, len(content), size)
    with mock.patch.object(module, "BLOCK", block):
        ranges = [line_range(path, start, min(start + size, len(content))) for start in starts]
        pieces = [b"".join(file_blocks(path, *found)) for found in ranges]
    assert b"".join(pieces) == content
    for start, piece, (begin, _) in zip(starts, pieces, ranges, strict=True):
        assert not piece or (start <= begin < start + size and (begin == 0 or content[begin - 1 : begin] == b"\n"))
