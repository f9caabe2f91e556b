"""Components against scipy's, with links in any order and any division."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from data_prep.dedup.components import empty_forest, join, roots

LINKS = st.lists(st.tuples(st.integers(0, 29), st.integers(0, 29)), max_size=60)


def firsts(documents: int, links: NDArray[np.int64]) -> NDArray[np.int64]:
    """The first document of each document's component."""
    graph = coo_array((np.ones(len(links)), links.T), shape=(documents, documents))
    _, labels = connected_components(graph, directed=False)
    first = np.full(documents, documents)
    np.minimum.at(first, labels, np.arange(documents))
    return first[labels]


@settings(max_examples=20)
@given(LINKS, st.integers(1, 60))
def test_roots_are_the_first_of_each_component(pairs: list[tuple[int, int]], block: int) -> None:
    links = np.array(pairs, np.int64).reshape(-1, 2)
    with tempfile.TemporaryDirectory() as name:
        forest = empty_forest(Path(name, "forest"), 30)
        for start in range(0, len(links), block):
            join(forest, links[start : start + block])
        expected = firsts(30, links)
        assert np.array_equal(forest != 0, expected != np.arange(30))
        assert np.array_equal(roots(forest, np.arange(30)), expected)


@pytest.mark.parametrize("order", ["ascending", "descending", "shuffled"])
@pytest.mark.parametrize("shape", ["path", "star at the end"])
def test_long_paths_take_few_rounds(tmp_path: Path, order: str, shape: str) -> None:
    """One hop per round would take 200,000 rounds of the whole array: this test would not end."""
    documents = 200_000
    end = np.full(documents - 1, documents - 1) if shape != "path" else np.arange(1, documents)
    links = np.stack([np.arange(documents - 1), end], axis=1)
    if order != "ascending":
        links = links[::-1] if order == "descending" else np.random.default_rng(0).permutation(links)
    forest = empty_forest(tmp_path / "forest", documents)
    for block in np.array_split(links, 7):
        join(forest, block)
    assert (roots(forest, np.arange(documents)) == 0).all()
