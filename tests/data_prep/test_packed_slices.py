"""Best-fit phases read exactly their samples, and no document again before all were read, whatever stays for later."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from data_prep.packed_slices import pack_slice
from data_prep.slices import Cursor, Stream, Wanted, cut_phase, take

lengths_of_documents = st.lists(st.integers(1, 60), min_size=1, max_size=60)
phases_asked = st.lists(st.tuples(st.integers(1, 40), st.integers(1, 16)), min_size=1, max_size=6)


def stream(lengths: list[int]) -> Stream:
    return Stream("laws", "legal", np.array(lengths, np.int32), seed=7, max_epochs=9)


def total(cursor: Cursor) -> np.ndarray:
    return cursor.readings.astype(int) + cursor.epoch


@given(lengths=lengths_of_documents, phases=phases_asked)
def test_packs_are_the_samples_and_readings_stay_even(lengths: list[int], phases: list[tuple[int, int]]) -> None:
    source = stream(lengths)
    cursor = source.start()
    for samples, sequence_length in phases:
        piece, _ = take(source, cursor, Wanted(samples), sequence_length)
        read, after, packs = pack_slice(source, cursor, piece, sequence_length)
        assert packs.samples == read.samples == piece.samples
        assert read.tokens == sum(lengths[document] for document in read.documents)
        assert after.tokens == cursor.tokens + read.tokens
        given = np.bincount(read.documents, minlength=len(lengths))
        assert np.array_equal(total(after), total(cursor) + given)
        assert (given <= np.bincount(piece.documents, minlength=len(lengths))).all()
        assert total(after).max() - total(after).min() <= 1
        first = sum(1 for number in range(len(lengths)) if given[number] and not total(cursor)[number])
        assert read.repeated == len(read.documents) - first
        assert packs.used == len(read.documents)
        cursor = after


def test_what_is_not_read_was_a_random_part() -> None:
    """Documents of more than half a sequence leave much room, so that many stay for later."""
    lengths = np.random.RandomState(0).randint(40, 64, 4_000).astype(np.int32)
    source = stream(lengths.tolist())
    start = source.start()
    piece, _ = take(source, start, Wanted(2_000), 64)
    read, _, _ = pack_slice(source, start, piece, 64)
    assert len(read.documents) == 2_000 < 0.9 * len(piece.documents)
    assert abs(read.documents.mean() - 2_000) < 100
    assert abs(lengths[read.documents].mean() - lengths.mean()) < 0.5


def test_every_source_of_a_phase_can_be_packed() -> None:
    streams = {"laws": stream([500]), "short": stream([5] * 200)}
    before = {name: one.start() for name, one in streams.items()}
    cut, _ = cut_phase(streams, before, {"laws": Wanted(3), "short": Wanted(4)}, 10)
    packed = {name: pack_slice(streams[name], before[name], piece, 10) for name, piece in cut.items()}
    assert {name: packs.samples for name, (_, _, packs) in packed.items()} == {"laws": 0, "short": 7}
