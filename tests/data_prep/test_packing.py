"""The invariants of best-fit packing, on random documents and on the real sample."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.indexed import ShardWriter, read_document, read_index, read_tokens
from data_prep.packing import PADDING, Packs, pack, write_packed
from data_prep.phase_table import expected_truncation
from recipes.layout import RunFolder

documents = st.lists(st.integers(1, 70), max_size=80).map(lambda lengths: np.array(lengths, np.int32))
sequence = st.integers(1, 24)


def naive_best_fit_decreasing(pieces: list[int], sequence_length: int) -> int:
    rooms: list[int] = []
    for piece in sorted(pieces, reverse=True):
        fitting = [room for room in rooms if room >= piece]
        if fitting:
            rooms.remove(min(fitting))
        rooms.append((min(fitting) if fitting else sequence_length) - piece)
    return len(rooms)


def pieces_of(lengths: np.ndarray, sequence_length: int) -> list[int]:
    return [
        min(sequence_length, int(length) - start)
        for length in lengths
        for start in range(0, int(length), sequence_length)
    ]


def places(packs: Packs) -> dict[tuple[int, int], int]:
    """How often each (document, token) is in a pack."""
    found: dict[tuple[int, int], int] = {}
    for document, offset, length in zip(packs.documents, packs.offsets, packs.lengths, strict=True):
        for token in range(offset, offset + length):
            found[int(document), token] = found.get((int(document), token), 0) + 1
    return found


@given(lengths=documents, sequence_length=sequence, seed=st.integers(0, 9))
def test_every_token_is_in_one_pack_once(lengths: np.ndarray, sequence_length: int, seed: int) -> None:
    packs = pack(lengths, sequence_length, seed)
    every = {(document, token): 1 for document, length in enumerate(lengths) for token in range(length)}
    assert places(packs) == every
    assert np.add.reduceat(np.append(packs.lengths, 0), packs.starts[:-1]).max(initial=0) <= sequence_length


@given(lengths=documents, sequence_length=sequence)
def test_only_documents_longer_than_a_sequence_are_cut(lengths: np.ndarray, sequence_length: int) -> None:
    packs = pack(lengths, sequence_length, 0)
    times = np.bincount(packs.documents, minlength=len(lengths))
    assert np.array_equal(times, -(-lengths // sequence_length))
    assert packs.truncated(lengths) == (lengths > sequence_length).sum() / max(1, len(lengths))


@given(lengths=documents, sequence_length=sequence)
def test_the_histogram_gives_the_packs_of_best_fit_decreasing(lengths: np.ndarray, sequence_length: int) -> None:
    packs = pack(lengths, sequence_length, 0)
    assert packs.samples == naive_best_fit_decreasing(pieces_of(lengths, sequence_length), sequence_length)
    held = np.add.reduceat(np.append(packs.lengths, 0), packs.starts[:-1]) if packs.samples else np.zeros(0)
    assert (2 * held <= sequence_length).sum() <= 1  # any two packs together hold more than one sequence


@given(lengths=documents, sequence_length=sequence, share=st.floats(0, 1))
def test_exactly_the_samples_asked_from_the_first_documents_on(
    lengths: np.ndarray, sequence_length: int, share: float
) -> None:
    samples = int(share * (int(lengths.sum()) // sequence_length))
    packs = pack(lengths, sequence_length, 3, samples)
    assert packs.samples == samples
    assert set(packs.documents.tolist()) == set(range(packs.used))
    assert set(places(packs).values()) <= {1}
    kept = np.bincount(packs.documents, weights=packs.lengths, minlength=packs.used)
    unfinished = np.flatnonzero(kept < lengths[: packs.used]).tolist()
    assert unfinished in ([], [packs.used - 1])  # the end of the last document alone may stay out
    assert not unfinished or lengths[unfinished[0]] > sequence_length


@given(lengths=st.lists(st.integers(1, 8), max_size=60).map(lambda lengths: np.array(lengths, np.int32)))
def test_short_documents_stay_whole_and_the_next_one_would_not_fit(lengths: np.ndarray) -> None:
    samples = int(lengths.sum()) // 8
    packs = pack(lengths, 8, 3, samples)
    assert packs.truncated(lengths) == 0
    if packs.used < len(lengths):
        assert pack(lengths[: packs.used + 1], 8, 3).samples > samples


def test_a_document_too_long_for_what_is_asked_gives_its_beginning() -> None:
    packs = pack(np.array([5, 300, 4], np.int32), 10, 0, 3)
    assert sorted(zip(packs.documents.tolist(), packs.offsets.tolist(), packs.lengths.tolist(), strict=True)) == [
        (0, 0, 5),
        (1, 0, 10),
        (1, 10, 10),
    ]
    assert packs.truncated(np.array([5, 300, 4], np.int32)) == 1 / 2
    assert packs.padding == pytest.approx(5 / 30)


def test_too_few_documents_are_refused() -> None:
    with pytest.raises(ValueError, match="2 documents do not fill 3 packs"):
        pack(np.array([5, 5], np.int32), 10, 0, 3)


def test_the_seed_alone_decides_the_order() -> None:
    lengths = np.random.RandomState(0).randint(1, 40, 500).astype(np.int32)
    first, again, other = (pack(lengths, 64, seed) for seed in (1, 1, 2))
    assert all(np.array_equal(one, two) for one, two in zip(first, again, strict=True))
    assert not np.array_equal(first.documents, other.documents)
    assert first.samples == other.samples
    assert pack(lengths, 64, 1).documents[:6].tolist() == [90, 206, 337, 64, 315, 325]  # the same on every machine


def test_long_and_short_documents_mix_within_packs_and_over_them() -> None:
    """Best fit decreasing as such would give the longest documents first, in every pack and in the whole."""
    lengths = np.random.RandomState(0).randint(1, 33, 4_000).astype(np.int32)
    packs = pack(lengths, 64, 5)
    first = packs.lengths[packs.starts[:-1]]
    last = packs.lengths[packs.starts[1:] - 1]
    assert abs((first > last).mean() - (first < last).mean()) < 0.1
    halves = np.split(packs.lengths, [packs.starts[packs.samples // 2]])
    assert abs(halves[0].mean() - halves[1].mean()) < 1


def test_packed_files_hold_the_documents_of_a_slice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data_prep.packing.BLOCK_TOKENS", 100)  # several blocks
    random = np.random.RandomState(1)
    texts = [random.randint(1, 60_000, length) for length in random.randint(1, 90, 60)]
    with ShardWriter(tmp_path / "shard", np.dtype("<u2")) as writer:
        writer.append(np.concatenate(texts), np.array([len(text) for text in texts]))
    shard = read_index(tmp_path / "shard")
    chosen = random.permutation(60)[:40].astype(np.int32)
    packs = pack(shard.lengths[chosen], 32, 9)
    digest = write_packed(tmp_path / "packed", read_tokens(tmp_path / "shard", shard), shard, chosen, packs)
    assert digest
    written = read_index(tmp_path / "packed")
    tokens = read_tokens(tmp_path / "packed", written)
    assert written.dtype == np.dtype("<i4") and written.lengths.tolist() == [32] * packs.samples
    for number in range(packs.samples):
        row = read_document(tokens, written, number)
        pieces = range(packs.starts[number], packs.starts[number + 1])
        expected = [
            texts[chosen[packs.documents[piece]]][packs.offsets[piece] :][: packs.lengths[piece]] for piece in pieces
        ]
        text = np.concatenate(expected)
        assert np.array_equal(row, np.append(text, np.full(32 - len(text), PADDING)))


def test_on_the_sample_packing_cuts_what_is_longer_than_a_sequence_only(sample_run: RunFolder) -> None:
    lengths = read_index(sample_run.shards / "decisions" / "documents").lengths
    packs = pack(lengths, 1024, 0)
    concatenated, _ = expected_truncation(lengths, np.arange(len(lengths), dtype=np.int32), 1024)
    assert packs.truncated(lengths) == (lengths > 1024).mean() < 0.8 * concatenated
    assert packs.padding < 0.02
