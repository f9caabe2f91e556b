"""The invariants of the document curriculum, on random sources and phases."""

from collections import Counter
from math import ceil

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.stats import ks_2samp, kstest

from data_prep.slices import Cursor, Stream, Wanted, cut_phase, limited, take

lengths_of_documents = st.lists(st.integers(1, 60), min_size=1, max_size=60)
phases_asked = st.lists(
    st.tuples(st.integers(0, 20), st.integers(1, 8), st.sampled_from([1, 1, 10, 40])), min_size=1, max_size=6
)


def stream(lengths: list[int], name: str = "laws", domain: str = "legal", seed: int = 7, epochs: float = 1e5) -> Stream:
    return Stream(name, domain, np.array(lengths, np.int32), seed, epochs)


@given(lengths=lengths_of_documents, phases=phases_asked, epochs=st.sampled_from([1, 1.5, 4, 100]))
def test_no_document_is_given_while_one_that_may_be_was_given_less_often(
    lengths: list[int], phases: list[tuple[int, int, int]], epochs: float
) -> None:
    source = stream(lengths, epochs=epochs)
    cursor = source.start()
    times: Counter[int] = Counter(dict.fromkeys(range(len(lengths)), 0))
    for samples, sequence_length, minimum in phases:
        long = [number for number, length in enumerate(lengths) if length >= minimum]
        piece, cursor = take(source, cursor, Wanted(samples, minimum), sequence_length)
        repeated = 0
        for document in piece.documents.tolist():
            assert times[document] == min(times[number] for number in long)
            repeated += times[document] > 0
            times[document] += 1
        assert piece.repeated == repeated
        assert piece.tokens == sum(lengths[document] for document in piece.documents)
        assert [cursor.epoch + int(more) for more in cursor.readings] == [times[n] for n in range(len(lengths))]
        assert cursor.tokens == sum(lengths[number] * times[number] for number in times) <= epochs * sum(lengths)
    assert max(times.values()) <= ceil(epochs)


@given(lengths=lengths_of_documents, phases=phases_asked)
def test_samples_are_megatrons_and_never_more_than_asked(
    lengths: list[int], phases: list[tuple[int, int, int]]
) -> None:
    source = stream(lengths)
    cursor = source.start()
    for samples, sequence_length, minimum in phases:
        piece, cursor = take(source, cursor, Wanted(samples, minimum), sequence_length)
        assert piece.samples == max(0, (piece.tokens - 1) // sequence_length) <= samples
        candidates = source.next_of(cursor, minimum)
        if 0 < piece.samples < samples and candidates:  # every document left is longer than the gap
            gap = samples * sequence_length + sequence_length - piece.tokens
            assert all(source.lengths[candidates.mask(slice(None))] > gap)


@given(lengths=st.lists(st.integers(1, 8), min_size=1, max_size=60), phases=phases_asked)
def test_documents_that_fit_into_a_sequence_give_exactly_what_is_asked(
    lengths: list[int], phases: list[tuple[int, int, int]]
) -> None:
    source = stream(lengths)
    cursor = source.start()
    for samples, _, _ in phases:
        piece, cursor = take(source, cursor, Wanted(samples), 8)
        assert piece.samples == samples


@pytest.mark.parametrize("mean", [300, 9_000])  # tokens; a sequence has 4,096
def test_hundreds_of_documents_give_exactly_what_is_asked_to_the_end_of_an_epoch_and_on(mean: int) -> None:
    lengths = np.random.RandomState(2).lognormal(np.log(mean), 0.8, 400).astype(int) + 1
    source = stream(lengths.tolist())
    cursor = source.start()
    for share in (0.5, 0.499, 0.3, 1.2):
        samples = int(share * source.tokens) // 4096
        piece, cursor = take(source, cursor, Wanted(samples), 4096)
        assert piece.samples == samples


def test_documents_passed_over_come_first_in_the_next_phase() -> None:
    source = stream([100, 3, 3, 3, 3])
    first, cursor = take(source, source.start(), Wanted(1), 5)
    assert 0 not in first.documents
    rest = set(range(5)) - set(first.documents.tolist())
    second, cursor = take(source, cursor, Wanted(20), 5)
    assert set(second.documents.tolist()) <= rest
    assert 0 in second.documents


def test_a_phase_that_gets_no_sequence_takes_no_document() -> None:
    source = stream([3, 100])
    piece, cursor = take(source, source.start(), Wanted(2), 20)
    assert (piece.samples, len(piece.documents), cursor.readings.tolist()) == (0, 0, [0, 0])


def test_short_documents_wait_for_the_phases_that_take_them() -> None:
    source = stream([2] * 50 + [20] * 10)
    long, cursor = take(source, source.start(), Wanted(39, 20), 10)  # 400 tokens: each of the long ones twice
    assert (len(long.documents), long.repeated, long.documents.min()) == (20, 10, 50)
    assert (cursor.epoch, cursor.readings[:50].max(), cursor.readings[50:].min()) == (0, 0, 2)
    short, cursor = take(source, cursor, Wanted(9), 10)  # 100 tokens: all that was never read
    assert (sorted(short.documents.tolist()), short.repeated) == (list(range(50)), 0)
    assert (cursor.epoch, cursor.readings.max(), cursor.tokens) == (1, 1, 500)


def positions_and_lengths_of_phases(source: Stream, phases: list[float]) -> list[np.ndarray]:
    """Documents of consecutive phases that take these shares of the source."""
    cursor, given = source.start(), []
    for share in phases:
        piece, cursor = take(source, cursor, Wanted(int(share * source.tokens) // 512), 512)
        given.append(piece.documents)
    return given


def test_phases_have_the_lengths_and_positions_of_their_source() -> None:
    """A source that changes along its shards: the first files have short documents, the last ones long ones."""
    trend = np.linspace(4, 7, 300_000)
    source = stream(np.random.RandomState(3).lognormal(trend, 0.7).astype(int) + 1)
    for documents in positions_and_lengths_of_phases(source, [0.05, 0.4, 0.3, 0.2]):
        assert kstest(documents / 300_000, "uniform").pvalue > 0.01
        assert ks_2samp(source.lengths[documents], source.lengths).pvalue > 0.01
    unpermuted = np.arange(100_000)  # the test would notice: the first third of the documents
    assert ks_2samp(source.lengths[unpermuted], source.lengths).pvalue < 1e-9


def test_the_documents_depend_on_seed_source_and_epoch() -> None:
    def first(source: Stream, cursor: Cursor | None = None) -> list[int]:
        return take(source, cursor or source.start(), Wanted(9), 1)[0].documents.tolist()

    source = stream([1] * 50)
    later = Cursor(1, 50, np.zeros(50, np.uint8))
    others = [first(stream([1] * 50, name="decisions")), first(stream([1] * 50, seed=8)), first(source, later)]
    assert len({tuple(sorted(documents)) for documents in [first(source), *others]}) == 4
    assert first(source) == [43, 5, 26, 35, 40, 10, 46, 36, 11, 12]  # the same on every machine


@given(
    sources=st.lists(st.lists(st.integers(1, 40), min_size=1, max_size=30), min_size=1, max_size=4),
    asked=st.lists(st.integers(0, 12), min_size=4, max_size=4),
)
def test_other_sources_make_up_what_one_cannot_give(sources: list[list[int]], asked: list[int]) -> None:
    streams = {f"s{i}": stream(lengths, f"s{i}") for i, lengths in enumerate(sources)}
    streams["many"] = stream([1] * 50, "many", domain="general")  # one-token documents fit everywhere
    wanted = {name: Wanted(n) for name, n in zip(streams, [*asked[: len(sources)], 3], strict=False)}
    cursors = {name: source.start() for name, source in streams.items()}
    cut, after = cut_phase(streams, cursors, wanted, 8)
    assert sum(piece.samples for piece in cut.values()) == sum(asked.samples for asked in wanted.values())
    assert set(after) == set(streams)


@given(
    sources=st.lists(st.lists(st.integers(1, 400), min_size=1, max_size=30), min_size=1, max_size=4),
    asked=st.lists(st.lists(st.integers(0, 12), min_size=4, max_size=4), min_size=1, max_size=4),
    epochs=st.sampled_from([1, 2.5, 1e5]),
)
def test_every_phase_is_filled_until_all_is_read_as_often_as_it_may_be(
    sources: list[list[int]], asked: list[list[int]], epochs: float
) -> None:
    streams = {f"s{i}": stream(lengths, f"s{i}", epochs=epochs) for i, lengths in enumerate(sources)}
    cursors = {name: source.start() for name, source in streams.items()}
    times = {name: np.zeros(len(source.lengths), int) for name, source in streams.items()}
    for samples in asked:
        wanted = {name: Wanted(n) for name, n in zip(streams, samples, strict=False)}
        cut, cursors = cut_phase(streams, cursors, wanted, 8)
        for name, piece in cut.items():
            assert piece.tokens == sum(streams[name].lengths[piece.documents])
            np.add.at(times[name], piece.documents, 1)
            assert times[name].max() - times[name].min() <= 1
            assert cursors[name].tokens == (times[name] * streams[name].lengths).sum() <= epochs * streams[name].tokens
        if sum(piece.samples for piece in cut.values()) < sum(samples[: len(streams)]):
            for name, source in streams.items():
                room = source.most_tokens - cursors[name].tokens
                open_ = (times[name] == times[name].min()) & (times[name] < epochs)
                assert not (source.lengths[open_] <= room).any()


def test_a_gap_that_nothing_fits_takes_the_shortest_document_left() -> None:
    streams = {"laws": stream([500, 300], "laws")}
    cut, after = cut_phase(streams, {"laws": streams["laws"].start()}, {"laws": Wanted(3)}, 10)
    assert (cut["laws"].documents.tolist(), cut["laws"].samples) == ([1], 29)
    assert after["laws"].readings.tolist() == [0, 1]


def test_the_same_domain_helps_first() -> None:
    streams = {
        "laws": stream([500], "laws"),
        "decisions": stream([5] * 100, "decisions"),
        "general": stream([5] * 100, "general", domain="general"),
    }
    cursors = {name: source.start() for name, source in streams.items()}
    wanted = {"laws": Wanted(3), "decisions": Wanted(4), "general": Wanted(9)}
    cut, after = cut_phase(streams, cursors, wanted, 10)
    assert {name: piece.samples for name, piece in cut.items()} == {"laws": 0, "decisions": 7, "general": 9}
    assert after["laws"].tokens == 0


@given(lengths=lengths_of_documents, limit=st.integers(1, 2000))
@example(lengths=[1, 1, 1], limit=2)
def test_a_limit_keeps_a_random_part_that_fits_and_all_epochs_stay_in_it(lengths: list[int], limit: int) -> None:
    kept = limited(np.array(lengths, np.int32), limit, "7/laws/limit")
    assert all(kept == np.where(kept > 0, lengths, 0))
    assert kept.sum() <= limit or np.count_nonzero(kept) == 1
    assert all(kept == lengths) or kept.sum() + max(lengths) > limit
    piece, cursor = take(stream(kept.tolist()), stream(kept.tolist()).start(), Wanted(3 * int(kept.sum())), 1)
    assert set(piece.documents.tolist()) == set(np.flatnonzero(kept).tolist())
    assert cursor.epoch >= 3
