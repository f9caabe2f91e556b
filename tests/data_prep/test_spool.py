"""Bytes that wait for their place in a file, in memory and beyond."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.spool import Spool


@given(st.lists(st.binary(max_size=50), max_size=20), st.integers(0, 200), st.integers(0, 30))
def test_all_that_was_written_lies_at_its_place(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes], bound: int, offset: int
) -> None:
    folder = tmp_path_factory.mktemp("spool")
    path = folder / "file"
    path.write_bytes(b"x" * 100)
    whole = b"".join(pieces)
    with Spool(bound, folder) as spool:
        for piece in pieces:
            spool.write(piece)
        assert spool.size == len(whole)
        spool.place(path, offset)
    content = path.read_bytes()
    assert content[offset : offset + len(whole)] == whole
    assert content[:offset] == b"x" * offset
    assert content[offset + len(whole) :] == b"x" * max(0, 100 - offset - len(whole))
    assert list(folder.iterdir()) == [path]


def test_arrays_are_bytes_too(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    with Spool(10, tmp_path) as spool:
        for array in (np.arange(5, dtype="<i4"), np.zeros(0, "<i4"), np.arange(5, 9, dtype="<i4")):
            spool.write(array.data)
        spool.place(path, 0)
    assert np.fromfile(path, "<i4").tolist() == list(range(9))
