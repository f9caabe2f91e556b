"""The document curriculum: which documents each phase reads, so that none is read twice before all were read once.

A source is an endless stream of epochs; an epoch is a permutation of its documents. A phase walks what remains of the
current epoch in order and takes every document that still fits, until its samples are full. Documents passed over stay
first in line for the next phase; the next epoch starts when nothing of the current one is left.
"""

import hashlib
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Cursor(NamedTuple):
    """Where a source's stream stands."""

    remaining: NDArray[np.int32]  # documents of the current epoch not given yet, in order
    epoch: int = 0  # of `remaining`, from 0


class Slice(NamedTuple):
    """What one phase reads of one source."""

    documents: NDArray[np.int32]  # numbers in the shard, in the order given
    tokens: int
    samples: int  # ⌊(tokens − 1) / sequence_length⌋: Megatron's samples overlap by the one token that is predicted


class Stream(NamedTuple):
    """One source: tokens per document, what its permutations depend on, and how much of it is read at all."""

    name: str
    domain: str
    lengths: NDArray[np.int32]  # [documents], tokens
    seed: int
    limit: int | None = None  # tokens; the documents beyond them, in a random order of their own, are never read

    def start(self) -> Cursor:
        return Cursor(self.permutation(0))

    def permutation(self, epoch: int) -> NDArray[np.int32]:
        """Depends on (seed, source name, epoch, documents, limit) alone."""
        return _shuffled(self.documents(), f"{self.seed}/{self.name}/{epoch}")

    def documents(self) -> NDArray[np.int32]:
        """The documents that are read, ascending: all, or as many as the limit holds, one at least."""
        every = np.arange(len(self.lengths), dtype=np.int32)
        if self.limit is None:
            return every
        order = _shuffled(every, f"{self.seed}/{self.name}/limit")
        held = np.cumsum(self.lengths[order], dtype=np.int64) <= self.limit
        return np.sort(order[: max(1, int(held.sum()))])

    def tokens(self) -> int:
        """Tokens of one epoch."""
        return int(self.lengths[self.documents()].sum(dtype=np.int64))


def _shuffled(documents: NDArray[np.int32], words: str) -> NDArray[np.int32]:
    """A permutation that depends on `words` alone; `RandomState` is the same in every numpy version."""
    seed = np.frombuffer(hashlib.sha256(words.encode()).digest(), "<u4")
    order = documents.copy()
    np.random.RandomState(seed).shuffle(order)
    return order


def take(stream: Stream, cursor: Cursor, samples: int, sequence_length: int) -> tuple[Slice, Cursor]:
    """Give `samples` sequences to a phase: exactly, or fewer where every document left of the epoch is too long to fit.

    Tokens lie in [samples · L + 1, samples · L + L], so that Megatron cuts exactly `samples` from them.
    """
    enough = samples * sequence_length + 1 if samples else 0
    most = enough + sequence_length - 1 if samples else 0
    taken: list[NDArray[np.int32]] = []
    tokens, start = 0, cursor
    while tokens < enough:
        fits = first_fit(stream.lengths[cursor.remaining], enough - tokens, most - tokens)
        chosen = cursor.remaining[fits]
        taken.append(chosen)
        tokens += int(stream.lengths[chosen].sum(dtype=np.int64))
        left = cursor.remaining[~fits]
        if len(left):
            cursor = Cursor(left, cursor.epoch)
            break
        cursor = Cursor(stream.permutation(cursor.epoch + 1), cursor.epoch + 1)
    if tokens <= sequence_length:  # not one sequence: the documents stay for the next phase
        return Slice(np.zeros(0, np.int32), 0, 0), start
    return Slice(np.concatenate(taken), tokens, (tokens - 1) // sequence_length), cursor


def first_fit(lengths: NDArray[np.int32], enough: int, most: int) -> NDArray[np.bool_]:
    """Walk `lengths` in order and take each that keeps the sum within `most`, until the sum is at least `enough`.

    Returns:
        [len(lengths)], which are taken. Each round takes the longest run of candidates that fits, so that the number of
        numpy passes does not grow with the number of documents.
    """
    taken = np.zeros(len(lengths), bool)
    position = total = 0
    while total < enough:
        candidates = position + np.flatnonzero(lengths[position:] <= most - total)
        if not len(candidates):
            break
        sums = total + np.cumsum(lengths[candidates], dtype=np.int64)
        count = min(int(np.searchsorted(sums, enough)) + 1, int(np.searchsorted(sums, most, side="right")))
        taken[candidates[:count]] = True
        total = int(sums[count - 1])
        position = int(candidates[count - 1]) + 1
    return taken


def cut_phase(
    streams: Mapping[str, Stream], cursors: Mapping[str, Cursor], asked: Mapping[str, int], sequence_length: int
) -> tuple[dict[str, Slice], dict[str, Cursor]]:
    """Slices of one phase and the cursors after it.

    What a source cannot give exactly, because all its documents left are longer than the gap, other sources make up:
    those of the same domain first, the largest first. Where none can, the shortest documents left are added whole, and
    the samples are a few more than asked: training reads as many as were asked and leaves the rest unread.
    """
    cut = {name: take(streams[name], cursors[name], samples, sequence_length) for name, samples in asked.items()}
    short = {name: asked[name] - piece.samples for name, (piece, _) in cut.items() if piece.samples < asked[name]}
    for name, missing in short.items():
        for helper in _helpers(streams, asked, name):
            before = cut[helper][0].samples
            more = take(streams[helper], cursors[helper], before + missing, sequence_length)
            if more[0].samples > before:
                cut[helper] = more
                missing -= more[0].samples - before
            if not missing:
                break
    while sum(piece.samples for piece, _ in cut.values()) < sum(asked.values()):
        name, number = _shortest_left(streams, {name: cursor for name, (_, cursor) in cut.items()})
        cut[name] = _add(streams[name], *cut[name], number, sequence_length)
    after = {name: cursor for name, (_, cursor) in cut.items()}
    return {name: piece for name, (piece, _) in cut.items()}, {**cursors, **after}


def _shortest_left(streams: Mapping[str, Stream], cursors: Mapping[str, Cursor]) -> tuple[str, int]:
    """The source and number of the shortest document that is left of any current epoch."""
    shortest = {name: int(c.remaining[streams[name].lengths[c.remaining].argmin()]) for name, c in cursors.items()}
    name = min(shortest, key=lambda name: (streams[name].lengths[shortest[name]], name))
    return name, shortest[name]


def _add(stream: Stream, piece: Slice, cursor: Cursor, number: int, sequence_length: int) -> tuple[Slice, Cursor]:
    """Give one more document."""
    tokens = piece.tokens + int(stream.lengths[number])
    documents = np.append(piece.documents, np.int32(number))
    left = cursor.remaining[cursor.remaining != number]
    after = Cursor(left, cursor.epoch) if len(left) else Cursor(stream.permutation(cursor.epoch + 1), cursor.epoch + 1)
    return Slice(documents, tokens, max(0, (tokens - 1) // sequence_length)), after


def _helpers(streams: Mapping[str, Stream], asked: Mapping[str, int], short: str) -> list[str]:
    others = [name for name in asked if name != short]
    return sorted(others, key=lambda name: (streams[name].domain != streams[short].domain, -asked[name], name))
