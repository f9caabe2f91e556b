import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.indexed import ShardWriter
from evaluation.perplexity import windows as evaluated
from recipes.engine.held_out_windows import choose, cut, read_windows


@given(st.lists(st.integers(0, 500), max_size=40), st.integers(1, 3000), st.integers(1, 300))
def test_what_is_chosen_fits_the_budget_and_no_document_takes_it_all(
    lengths: list[int], budget: int, window: int
) -> None:
    chosen = list(choose(np.array(lengths, np.int32), budget, window))
    assert len({number for number, _ in chosen}) == len(chosen)
    assert all(0 < take <= min(lengths[number], max(window, budget // 8)) for number, take in chosen)
    total = sum(take for _, take in chosen)
    assert total <= budget
    cap = max(window, budget // 8)
    assert total == min(budget, sum(min(length, cap) for length in lengths))


@given(st.integers(0, 200), st.integers(1, 50))
def test_windows_are_those_of_an_evaluation(length: int, window: int) -> None:
    ids = np.arange(10, 10 + length)
    mine, theirs = list(cut(ids, 3, window)), list(evaluated(ids, 3, window))
    assert [one.tolist() for one in mine] == [one.tolist() for one in theirs]
    assert sum(len(one) - 1 for one in mine) == length


@pytest.mark.slow  # reads with Megatron-Core
def test_windows_are_read_from_the_data_sides_files(tmp_path) -> None:
    documents = [[10, 11, 12, 13, 3], [3], [20, 21, 3]]
    with ShardWriter(tmp_path / "laws", np.dtype("<u2")) as writer:
        writer.append(np.concatenate(documents), np.array([len(document) for document in documents]))
    found = read_windows(tmp_path, ["laws"], 100, 3, 3)
    assert {one.source for one in found} == {"laws"}
    assert sorted(one.tokens.tolist() for one in found) == [[3, 10, 11, 12], [3, 20, 21], [12, 13]]
