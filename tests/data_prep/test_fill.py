"""Which documents fill a gap, against a walk by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.fill import NEIGHBOURS, Candidates, fill, fill_in_order, first_fit
from data_prep.permutation import keys

lengths_of_documents = st.lists(st.integers(1, 60), min_size=1, max_size=60)


def first_fit_by_hand(lengths: list[int], enough: int, most: int) -> list[bool]:
    total, taken = 0, []
    for length in lengths:
        taken.append(total < enough and total + length <= most)
        total += length if taken[-1] else 0
    return taken


@given(lengths=lengths_of_documents, enough=st.integers(0, 500), more=st.integers(0, 50))
def test_first_fit_is_the_walk_it_describes(lengths: list[int], enough: int, more: int) -> None:
    found = first_fit(np.array(lengths), enough, enough + more)
    assert found.tolist() == first_fit_by_hand(lengths, enough, enough + more)


@given(lengths=lengths_of_documents, enough=st.integers(1, 900), more=st.integers(0, 50))
def test_an_exchange_only_ever_completes_the_walk(lengths: list[int], enough: int, more: int) -> None:
    array = np.array(lengths)
    walked, found = first_fit(array, enough, enough + more), fill_in_order(array, enough, enough + more)
    assert array[found].sum() <= enough + more
    if array[walked].sum() >= enough or array[found].sum() < enough:
        assert np.array_equal(found, walked)
    else:
        assert np.count_nonzero(found != walked) == 2


def test_a_document_is_exchanged_where_none_fits() -> None:
    assert fill_in_order(np.array([50, 40, 75, 47]), 97, 99).tolist() == [True, False, False, True]


@pytest.fixture(scope="module")
def many() -> Candidates:
    """More than two chunks of documents, a third of them read already, some too short."""
    random = np.random.RandomState(1)
    lengths = np.minimum(random.lognormal(5, 1, 600_000) + 1, 30_000).astype(np.int32)
    readings = (random.uniform(size=600_000) < 0.3).astype(np.uint8)
    return Candidates(lengths, readings, reading=0, minimum=20, seed=5)


@pytest.mark.parametrize("share", [0.003, 0.3, 0.999])
def test_documents_are_taken_in_the_order_of_their_keys(many: Candidates, share: float) -> None:
    candidates = np.flatnonzero((many.readings == 0) & (many.lengths >= 20))
    order = candidates[np.argsort(keys(5, slice(0, 600_000))[candidates])]
    enough = int(share * many.lengths[order].sum(dtype=np.int64))
    documents, tokens = fill(many, enough, enough + 255)
    assert enough <= tokens == many.lengths[documents].sum(dtype=np.int64) <= enough + 255
    assert len(np.unique(documents)) == len(documents)
    places = np.flatnonzero(np.isin(order, documents))
    sure = max(0, len(places) - 2 * NEIGHBOURS)
    assert places[:sure].tolist() == list(range(sure))  # only around the end is one passed over
    assert places[-1] < len(places) + 2 * NEIGHBOURS


def test_all_are_taken_where_all_fit(many: Candidates) -> None:
    documents, tokens = fill(many, 10**9, 10**9)
    assert documents.tolist() == np.flatnonzero((many.readings == 0) & (many.lengths >= 20)).tolist()
    assert tokens == many.lengths[documents].sum(dtype=np.int64)


def test_no_candidate_gives_nothing() -> None:
    none = Candidates(np.array([5, 6], np.int32), np.array([1, 1], np.uint8), 0, 1, 7)
    documents, tokens = fill(none, 3, 9)
    assert (documents.tolist(), tokens) == ([], 0)
