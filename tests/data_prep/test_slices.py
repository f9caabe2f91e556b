"""The invariants of the document curriculum, on random sources and phases."""

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from data_prep.slices import Stream, cut_phase, first_fit, take

lengths_of_documents = st.lists(st.integers(1, 60), min_size=1, max_size=60)
phases_asked = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 16)), min_size=1, max_size=6)


def stream(lengths: list[int], name: str = "laws", domain: str = "legal", seed: int = 7) -> Stream:
    return Stream(name, domain, np.array(lengths, np.int32), seed)


def first_fit_by_hand(lengths: list[int], enough: int, most: int) -> list[bool]:
    total, taken = 0, []
    for length in lengths:
        taken.append(total < enough and total + length <= most)
        total += length if taken[-1] else 0
    return taken


@given(lengths=lengths_of_documents, enough=st.integers(0, 500), more=st.integers(0, 50))
def test_first_fit_is_the_walk_it_describes(lengths: list[int], enough: int, more: int) -> None:
    found = first_fit(np.array(lengths, np.int32), enough, enough + more)
    assert found.tolist() == first_fit_by_hand(lengths, enough, enough + more)


@given(lengths=lengths_of_documents, phases=phases_asked)
def test_no_document_is_given_twice_before_all_were_given_once(
    lengths: list[int], phases: list[tuple[int, int]]
) -> None:
    source = stream(lengths)
    cursor = source.start()
    times: Counter[int] = Counter()
    for samples, sequence_length in phases:
        piece, cursor = take(source, cursor, samples, sequence_length)
        for document in piece.documents.tolist():
            times[document] += 1
            fewest = min(times[number] for number in range(len(lengths)))
            assert times[document] - fewest <= 1
        assert piece.tokens == sum(lengths[document] for document in piece.documents)


@given(lengths=lengths_of_documents, phases=phases_asked)
def test_samples_are_megatrons_and_never_more_than_asked(lengths: list[int], phases: list[tuple[int, int]]) -> None:
    source = stream(lengths)
    cursor = source.start()
    for samples, sequence_length in phases:
        piece, cursor = take(source, cursor, samples, sequence_length)
        assert piece.samples == max(0, (piece.tokens - 1) // sequence_length)
        assert piece.samples <= samples
        if 0 < piece.samples < samples:  # every document left is longer than the gap
            gap = samples * sequence_length + sequence_length - piece.tokens
            assert all(lengths[document] > gap for document in cursor.remaining.tolist())


@given(lengths=st.lists(st.integers(1, 8), min_size=1, max_size=60), phases=phases_asked)
def test_documents_that_fit_into_a_sequence_give_exactly_what_is_asked(
    lengths: list[int], phases: list[tuple[int, int]]
) -> None:
    source = stream(lengths)
    cursor = source.start()
    for samples, _ in phases:
        piece, cursor = take(source, cursor, samples, 8)
        assert piece.samples == samples


def test_documents_passed_over_come_first_in_the_next_phase() -> None:
    source = stream([100, 3, 3, 3, 3])
    first, cursor = take(source, source.start(), 1, 5)
    assert 0 not in first.documents
    rest = set(range(5)) - set(first.documents.tolist())
    second, cursor = take(source, cursor, 20, 5)
    assert set(second.documents.tolist()) <= rest
    assert 0 in second.documents


def test_a_phase_that_gets_no_sequence_takes_no_document() -> None:
    source = stream([3, 100])
    piece, cursor = take(source, source.start(), 2, 20)
    assert (piece.samples, len(piece.documents), len(cursor.remaining)) == (0, 0, 2)


def test_the_order_depends_on_seed_source_and_epoch() -> None:
    source = stream([1] * 50)
    orders = [
        source.permutation(0),
        source.permutation(1),
        stream([1] * 50, name="decisions").permutation(0),
        stream([1] * 50, seed=8).permutation(0),
    ]
    assert len({tuple(order.tolist()) for order in orders}) == 4
    assert np.array_equal(source.permutation(0), stream([1] * 50).permutation(0))
    assert source.permutation(0)[:8].tolist() == [34, 48, 42, 8, 5, 16, 43, 41]  # the same on every machine


@given(
    sources=st.lists(st.lists(st.integers(1, 40), min_size=1, max_size=30), min_size=1, max_size=4),
    asked=st.lists(st.integers(0, 12), min_size=4, max_size=4),
)
def test_other_sources_make_up_what_one_cannot_give(sources: list[list[int]], asked: list[int]) -> None:
    streams = {f"s{i}": stream(lengths, f"s{i}") for i, lengths in enumerate(sources)}
    streams["many"] = stream([1] * 50, "many", domain="general")  # one-token documents fit everywhere
    wanted = dict(zip(streams, [*asked[: len(sources)], 3], strict=False))
    cursors = {name: source.start() for name, source in streams.items()}
    cut, after = cut_phase(streams, cursors, wanted, 8)
    assert sum(piece.samples for piece in cut.values()) == sum(wanted.values())
    assert set(after) == set(streams)


@given(
    sources=st.lists(st.lists(st.integers(1, 400), min_size=1, max_size=30), min_size=1, max_size=4),
    asked=st.lists(st.lists(st.integers(0, 12), min_size=4, max_size=4), min_size=1, max_size=4),
)
def test_every_phase_is_filled_whatever_the_documents_are(sources: list[list[int]], asked: list[list[int]]) -> None:
    streams = {f"s{i}": stream(lengths, f"s{i}") for i, lengths in enumerate(sources)}
    cursors = {name: source.start() for name, source in streams.items()}
    times = {
        name: Counter(dict.fromkeys(range(len(lengths)), 0)) for name, lengths in zip(streams, sources, strict=True)
    }
    for samples in asked:
        wanted = dict(zip(streams, samples, strict=False))
        cut, cursors = cut_phase(streams, cursors, wanted, 8)
        assert sum(piece.samples for piece in cut.values()) >= sum(wanted.values())
        for name, piece in cut.items():
            assert piece.tokens == sum(streams[name].lengths[piece.documents])
            times[name].update(piece.documents.tolist())
            assert max(times[name].values()) - min(times[name].values()) <= 1


def test_a_gap_that_nothing_fits_takes_the_shortest_document_left() -> None:
    streams = {"laws": stream([500, 300], "laws")}
    cut, after = cut_phase(streams, {"laws": streams["laws"].start()}, {"laws": 3}, 10)
    assert (cut["laws"].documents.tolist(), cut["laws"].samples) == ([1], 29)
    assert after["laws"].remaining.tolist() == [0]


def test_the_same_domain_helps_first() -> None:
    streams = {
        "laws": stream([500], "laws"),
        "decisions": stream([5] * 100, "decisions"),
        "general": stream([5] * 100, "general", domain="general"),
    }
    cursors = {name: source.start() for name, source in streams.items()}
    cut, after = cut_phase(streams, cursors, {"laws": 3, "decisions": 4, "general": 9}, 10)
    assert {name: piece.samples for name, piece in cut.items()} == {"laws": 0, "decisions": 7, "general": 9}
    assert len(after["laws"].remaining) == 1


@given(lengths=lengths_of_documents, limit=st.integers(1, 2000))
def test_a_limit_keeps_a_random_part_that_fits_and_all_epochs_stay_in_it(lengths: list[int], limit: int) -> None:
    source = stream(lengths)._replace(limit=limit)
    read = source.documents()
    assert source.tokens() <= limit or len(read) == 1
    assert len(read) == len(lengths) or source.tokens() + max(lengths) > limit
    for epoch in range(3):
        assert np.array_equal(np.sort(source.permutation(epoch)), read)
