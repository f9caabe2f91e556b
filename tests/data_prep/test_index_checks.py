"""The checks of mapped arrays, with the fault far behind the first chunk."""

import numpy as np
import pytest

from data_prep.index_checks import CHUNK, bad_boundary, bad_length, chunks, gap, outside

COUNT = 2 * CHUNK + 5
LENGTHS = np.arange(COUNT, dtype=np.int32) % 7 + 1
POINTERS = np.cumsum(LENGTHS, dtype=np.int64) * 4 - LENGTHS * 4
BOUNDARIES = np.arange(COUNT + 1)
FAR = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, COUNT - 1]


def with_value(array: np.ndarray, number: int, value: int) -> np.ndarray:
    changed = array.copy()
    changed[number] = value
    return changed


def test_chunks_cover_everything_once() -> None:
    assert [list(range(10))[part] for part in chunks(10, 4)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert list(chunks(0)) == []


def test_sound_arrays_have_no_fault() -> None:
    assert bad_length(LENGTHS) is None
    assert gap(LENGTHS, POINTERS, 4) is None
    assert outside(LENGTHS, POINTERS, 4, int(POINTERS[-1] + 4 * LENGTHS[-1])) is None
    assert bad_boundary(BOUNDARIES, COUNT, single=True) is None
    assert bad_boundary(BOUNDARIES, COUNT, single=False) is None


@pytest.mark.parametrize("number", FAR)
def test_the_fault_is_named_by_its_number(number: int) -> None:
    assert bad_length(with_value(LENGTHS, number, 0)) == f"document {number} has 0 tokens"
    moved = with_value(POINTERS, number, POINTERS[number] + 4)
    said = f"document {number} starts at byte {POINTERS[number] + 4}, those before it end at {POINTERS[number]}"
    assert gap(LENGTHS, moved, 4) == said
    for pointer in (-4, 2, 10**15):
        found = outside(LENGTHS, with_value(POINTERS, number, pointer), 4, 10**12)
        assert found is not None
        assert found.startswith(f"document {number} of {4 * LENGTHS[number]} bytes starts at byte {pointer} of")


@pytest.mark.parametrize("number", FAR[1:])
def test_a_wrong_boundary_is_named_by_its_document(number: int) -> None:
    found = bad_boundary(with_value(BOUNDARIES, number, number + 1), COUNT, single=True)
    assert found == f"document {number - 1} goes from sequence {number - 1} to {number + 1}"
    found = bad_boundary(with_value(BOUNDARIES, number, number - 2), COUNT, single=False)
    assert found == f"document {number - 1} goes from sequence {number - 1} to {number - 2}"


def test_a_document_may_have_no_sequence_or_several() -> None:
    assert bad_boundary(np.array([0, 2, 2, 5]), 5, single=False) is None
    assert bad_boundary(np.array([0, 2, 2, 5]), 5, single=True) is not None
    assert bad_boundary(np.array([], np.int64), 0, single=False) is not None
