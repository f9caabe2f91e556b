"""Slices against shards, with windows so small that everything lies across their ends."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.indexed import Index
from data_prep.verify import slices
from data_prep.verify.check import check
from data_prep.verify.slices import first_stray

lengths_of_a_shard = st.lists(st.integers(1, 9), min_size=1, max_size=60)


def contiguous(lengths: list[int]) -> Index:
    sizes = np.array(lengths, np.int64) * 2
    return Index(np.dtype("<u2"), np.array(lengths, np.int32), np.cumsum(sizes) - sizes)


@given(lengths=lengths_of_a_shard, data=st.data(), window=st.integers(1, 8), batch=st.integers(1, 8))
def test_a_stray_is_found_if_and_only_if_there_is_one(
    lengths: list[int], data: st.DataObject, window: int, batch: int
) -> None:
    shard = contiguous(lengths)
    order = data.draw(st.lists(st.integers(0, len(lengths) - 1), min_size=1, max_size=80))
    piece = Index(shard.dtype, shard.lengths[order], shard.pointers[order])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slices, "WINDOW", window)
        patch.setattr(slices, "SORTED", batch)
        assert first_stray(piece, shard) is None
        number = data.draw(st.integers(0, len(order) - 1))
        if data.draw(st.booleans()):
            piece.lengths[number] += data.draw(st.sampled_from([-1, 1]))
        else:
            piece.pointers[number] += data.draw(st.sampled_from([-2, -1, 1, 10**12, -(10**12)]))
        known = set(zip(shard.pointers.tolist(), shard.lengths.tolist(), strict=True))
        if (int(piece.pointers[number]), int(piece.lengths[number])) in known:
            assert first_stray(piece, shard) is None
        else:
            assert first_stray(piece, shard) == number


def test_a_bare_slice_is_no_dataset_of_its_own(sample_phases: object, tmp_path: Path) -> None:
    """Out of the folder that says which shard it is of, its order is a fault."""
    folder = sample_phases.phase(1)  # type: ignore[attr-defined]
    (tmp_path / "laws.idx").write_bytes((folder / "laws.idx").read_bytes())
    (tmp_path / "laws.bin").symlink_to((folder / "laws.bin").resolve())
    assert [problem.check for problem in check(tmp_path / "laws").problems] == ["pointers"]
