"""What differs between two JSON values is named by the smallest fields that do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.differences import differences, listed

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from(["a", "b"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("xyz"), inner, max_size=3),
    max_leaves=8,
)


def said(old: object, new: object) -> list[str]:
    return [str(each) for each in differences(old, new)]


@given(VALUES, VALUES)
def test_there_is_a_difference_where_values_differ_and_nowhere_else(old: object, new: object) -> None:
    found = list(differences(old, new))
    assert bool(found) == (old != new)
    assert all(each.old != each.new for each in found)


@pytest.mark.parametrize(
    ("old", "new", "sentences"),
    [
        ({"seed": 1, "same": [1]}, {"seed": 2, "same": [1]}, ["seed (1 -> 2)"]),
        ({"share": 1 / 3}, {"share": 0.5}, ["share (0.3333 -> 0.5)"]),
        ({"sha256": "0" * 64}, {"sha256": "1" * 64}, ["sha256"]),
        ({}, {"e.jsonl": "0" * 64}, ["e.jsonl (new)"]),
        ({"a": {"b": {"c": 1}}}, {"a": {}}, ["a.b (gone)"]),
        ([{"name": "a", "n": 1}], [{"name": "b", "n": 1}, {"name": "a", "n": 2}], ["b (new)", "a.n (1 -> 2)"]),
        ({"steps": [{"a": {"n": 1}}]}, {"steps": [{"a": {"n": 2}}]}, ["steps.0.a.n (1 -> 2)"]),
        ({"steps": [{"a": {}}, {"b": {}}]}, {"steps": [{"b": {}}]}, ["steps"]),
    ],
)
def test_fields_are_named(old: object, new: object, sentences: list[str]) -> None:
    assert said(old, new) == sentences


def test_a_long_list_is_cut() -> None:
    assert listed([]) == ""
    assert listed(["a", "b", "c"]) == "a, b, c"
    assert listed(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"
