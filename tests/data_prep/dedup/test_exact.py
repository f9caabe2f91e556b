"""Exact duplicates against a set in memory."""

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.dedup.exact import duplicates

PARTS = st.lists(st.lists(st.integers(0, 9) | st.sampled_from([2**63, 2**64 - 1])), max_size=5)


def write_digests(folder: Path, parts: list[list[int]]) -> list[Path]:
    files = [folder / f"{number}.npy" for number in range(len(parts))]
    for file, digests in zip(files, parts, strict=True):
        np.save(file, np.array(digests, np.uint64))
    return files


def plain_duplicates(parts: list[list[int]]) -> list[list[bool]]:
    seen: set[int] = set()
    return [[digest in seen or seen.add(digest) is not None for digest in part] for part in parts]


@settings(max_examples=20)
@given(PARTS, st.integers(64, 10_000))
def test_the_first_of_equal_documents_stays(parts: list[list[int]], memory: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        masks = duplicates(write_digests(Path(name), parts), Path(name, "scratch"), memory)
        found = [np.load(mask) for mask in masks]
        assert all(mask.dtype == np.bool_ for mask in found)
        assert [mask.tolist() for mask in found] == plain_duplicates(parts)


def test_what_a_killed_run_left_is_removed(tmp_path: Path) -> None:
    files = write_digests(tmp_path, [[1, 2, 1], [2, 3]])
    masks = duplicates(files, tmp_path / "scratch", 10_000)
    undisturbed = [mask.read_bytes() for mask in masks]
    masks[0].write_bytes(b"half")
    (tmp_path / "scratch" / "records").mkdir()
    (tmp_path / "scratch" / "records" / "000000.records").write_bytes(bytes(48))
    assert [mask.read_bytes() for mask in duplicates(files, tmp_path / "scratch", 10_000)] == undisturbed
    assert [entry.name for entry in (tmp_path / "scratch").iterdir()] == ["masks"]
