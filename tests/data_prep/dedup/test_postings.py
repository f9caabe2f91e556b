from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.dedup.postings import Postings, write_postings

KEYS = st.one_of(st.integers(0, 2**64 - 1), st.sampled_from([0, 1, 2**63 - 1, 2**63, 2**64 - 1]))


def batches_of(sets: list[set[int]], together: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Postings of items numbered as they come, some items at a time."""
    pairs = [(key, number) for number, keys in enumerate(sets) for key in keys]
    cut = [pairs[start : start + together] for start in range(0, len(pairs), together)]
    return [
        (np.array([key for key, _ in part], np.uint64), np.array([item for _, item in part], np.uint32)) for part in cut
    ]


@pytest.mark.slow
@settings(max_examples=20)
@given(st.lists(st.sets(KEYS, max_size=20), max_size=8), st.sets(KEYS, max_size=20), st.integers(1, 10))
def test_finds_what_a_dictionary_finds(
    tmp_path_factory: pytest.TempPathFactory, sets: list[set[int]], others: set[int], together: int
) -> None:
    folder = tmp_path_factory.mktemp("postings")
    write_postings(batches_of(sets, together), folder, memory=500)  # room for seven postings: runs and ranges
    postings = Postings(folder)
    queries = sorted(others.union(*sets), reverse=True)
    found = postings.find(np.array(queries, np.uint64))
    answers = {
        queries[query]: postings.items[first:last].tolist()
        for query, first, last in zip(found.query, found.first, found.last, strict=True)
    }
    expected = {key: [number for number, keys in enumerate(sets) if key in keys] for key in queries}
    assert answers == {key: items for key, items in expected.items() if items}


def test_the_files_do_not_depend_on_memory(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    sets = [set(generator.integers(0, 2**64, 500, np.uint64).tolist()) for _ in range(4)]
    for name, memory, together in (("small", 10_000, 37), ("large", 10_000_000, 2000)):
        (tmp_path / name).mkdir()
        write_postings(batches_of(sets, together), tmp_path / name, memory)
    files = {
        name: {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("small", "large")
    }
    assert files["small"] == files["large"] and len(files["small"]) == 3
    passing = np.unpackbits(np.load(tmp_path / "small" / "filter.npy")).mean()
    assert 0.05 < passing <= 0.125
