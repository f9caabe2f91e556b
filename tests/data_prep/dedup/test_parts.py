"""Positions over the files of the parts, and what is written by position."""

import errno
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.dedup.parts import first_positions, mapped_zeros, read_rows, write_masks
from recipes.errors import UserError


@settings(max_examples=20)
@given(st.lists(st.integers(0, 5), min_size=1).filter(any), st.data())
def test_rows_are_read_by_position(sizes: list[int], data: st.DataObject) -> None:
    rows = np.arange(2 * sum(sizes), dtype=np.uint16).reshape(-1, 2)
    positions = np.array(data.draw(st.lists(st.integers(0, len(rows) - 1))), np.int64)
    with tempfile.TemporaryDirectory() as name:
        files = [Path(name, f"{number}.npy") for number in range(len(sizes))]
        for file, part in zip(files, np.split(rows, np.cumsum(sizes)[:-1]), strict=True):
            np.save(file, part)
        firsts = first_positions(files)
        assert firsts.tolist() == [sum(sizes[:number]) for number in range(len(sizes) + 1)]
        found = read_rows(files, firsts, positions)
        assert found.dtype == rows.dtype
        assert np.array_equal(found, rows[positions])
        masks = write_masks(Path(name, "masks"), firsts, rows[:, 0] % 3)
        assert np.concatenate([np.load(mask) for mask in masks]).tolist() == (rows[:, 0] % 3 != 0).tolist()


def test_mapped_zeros_have_their_room_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zeros = mapped_zeros(tmp_path / "zeros", 100_000, np.uint32)
    assert zeros.shape == (100_000,)
    assert not zeros.any()
    assert (tmp_path / "zeros").stat().st_blocks * 512 >= 400_000

    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(UserError, match="no space is left"):
        mapped_zeros(tmp_path / "more", 1, np.uint32)
