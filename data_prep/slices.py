"""The document curriculum: which documents each phase reads, so that none is read twice before all were read once.

A phase takes the documents that were read least often first: those never read, in an order by the seed; when none of
them is left, those read once, in another order; and so on. A phase that asks for long documents chooses among these
alone, by the same rule: a long document may be read again while short ones wait for a phase that takes them, but never
while another long one waits.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import ceil
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from data_prep.fill import Candidates, fill
from data_prep.permutation import over_chunks, seed_of

NONE = 255  # readings of no document


class Cursor(NamedTuple):
    """What the phases so far have read of a source."""

    epoch: int  # times that every document was read
    tokens: int  # over all phases
    readings: NDArray[np.uint8]  # [documents], times beyond `epoch`


class Slice(NamedTuple):
    """What one phase reads of one source."""

    documents: NDArray[np.int32]  # numbers in the shard, once for every time that it is read
    tokens: int
    samples: int  # ⌊(tokens − 1) / sequence_length⌋: Megatron's samples overlap by the one token that is predicted
    repeated: int  # documents that had been read before


class Wanted(NamedTuple):
    """What a phase asks of a source."""

    samples: int
    minimum: int = 1  # tokens of a document


@dataclass(frozen=True)
class Stream:
    """One source: tokens per document, what its orders depend on, and how often it may be read over all phases."""

    name: str
    domain: str
    lengths: NDArray[np.int32]  # [documents], tokens; 0: never read
    seed: int
    max_epochs: float

    @cached_property
    def tokens(self) -> int:
        """Of one epoch."""
        return self.tokens_of(1)

    @property
    def most_tokens(self) -> int:
        """That may be read over all phases."""
        return int(self.max_epochs * self.tokens)

    def tokens_of(self, minimum: int) -> int:
        """Of one epoch, in documents of at least `minimum` tokens."""

        def of(part: slice) -> int:
            lengths = self.lengths[part]
            return int(lengths[lengths >= minimum].sum(dtype=np.int64))

        return sum(over_chunks(of, len(self.lengths)))

    def start(self) -> Cursor:
        return Cursor(0, 0, np.zeros(len(self.lengths), np.uint8))

    def next_of(self, cursor: Cursor, minimum: int) -> Candidates | None:
        """The documents that were read least often; None if they were read as often as they may be."""
        reading = fewest(self.lengths, cursor.readings, minimum)
        if reading == NONE or cursor.epoch + reading >= ceil(self.max_epochs):
            return None
        seed = seed_of(f"{self.seed}/{self.name}/{cursor.epoch + reading}")
        return Candidates(self.lengths, cursor.readings, reading, minimum, seed)


def fewest(lengths: NDArray[np.int32], readings: NDArray[np.uint8], minimum: int) -> int:
    """The smallest of `readings` of a document of at least `minimum` tokens; NONE if there is none."""

    def of(part: slice) -> int:
        return int(readings[part].min(where=lengths[part] >= minimum, initial=NONE))

    return min(over_chunks(of, len(lengths)), default=NONE)


def limited(lengths: NDArray[np.int32], limit: int, words: str) -> NDArray[np.int32]:
    """`lengths` with 0 for all but a random part of at most `limit` tokens (but one document at least)."""
    every = Candidates(lengths, np.zeros(len(lengths), np.uint8), 0, 1, seed_of(words))
    documents, tokens = fill(every, max(1, limit - int(lengths.max()) + 1), limit)
    if not tokens:
        documents = np.array([lengths.argmin()])
    kept = np.zeros_like(lengths)
    kept[documents] = lengths[documents]
    return kept


def take(stream: Stream, cursor: Cursor, wanted: Wanted, sequence_length: int) -> tuple[Slice, Cursor]:
    """Give a phase the samples that it wants: exactly, or fewer where the documents that are next do not fit.

    Tokens lie in [samples · L + 1, samples · L + L], so that Megatron cuts exactly `samples` from them.
    """
    left = stream.most_tokens - cursor.tokens
    samples = min(wanted.samples, max(0, left // sequence_length - 1))
    enough, most = (samples * sequence_length + 1, (samples + 1) * sequence_length) if samples else (0, 0)
    after = cursor._replace(readings=cursor.readings.copy())
    taken: list[NDArray[np.int32]] = []
    tokens, repeated, times = 0, 0, -1
    while tokens < enough:
        candidates = stream.next_of(after, wanted.minimum)
        if candidates is None or after.epoch + candidates.reading == times:  # some are left, and do not fit
            break
        times = after.epoch + candidates.reading
        documents, more = fill(candidates, enough - tokens, most - tokens)
        after.readings[documents] += 1
        after = settled(stream, after, more)
        taken.append(documents)
        tokens += more
        repeated += len(documents) if times else 0
    if tokens <= sequence_length:  # not one sequence: the documents stay for the next phase
        return Slice(np.zeros(0, np.int32), 0, 0, 0), cursor
    return Slice(np.concatenate(taken), tokens, (tokens - 1) // sequence_length, repeated), after


def settled(stream: Stream, cursor: Cursor, tokens: int) -> Cursor:
    """`cursor` after `tokens` more, with whole epochs counted as such."""
    whole = fewest(stream.lengths, cursor.readings, 1)
    readings = np.maximum(cursor.readings, whole) - np.uint8(whole) if whole else cursor.readings
    return Cursor(cursor.epoch + whole, cursor.tokens + tokens, readings)


def cut_phase(
    streams: Mapping[str, Stream], cursors: Mapping[str, Cursor], wanted: Mapping[str, Wanted], sequence_length: int
) -> tuple[dict[str, Slice], dict[str, Cursor]]:
    """Slices of one phase and the cursors after it.

    What a source cannot give exactly, because all its documents left are longer than the gap, other sources make up:
    those of the same domain first, the largest first. Where none can, the shortest documents left are added whole, and
    the samples are a few more than asked: training reads as many as were asked and leaves the rest unread. They are
    fewer than asked only if every source was read as often as it may be.
    """
    cut = {name: take(streams[name], cursors[name], asked, sequence_length) for name, asked in wanted.items()}
    short = {name: asked.samples - cut[name][0].samples for name, asked in wanted.items()}
    for name in [name for name, missing in short.items() if missing]:
        for helper in _helpers(streams, wanted, name):
            before = cut[helper][0].samples
            more = wanted[helper]._replace(samples=before + short[name])
            helped = take(streams[helper], cursors[helper], more, sequence_length)
            if helped[0].samples > before:
                cut[helper] = helped
                short[name] -= helped[0].samples - before
            if not short[name]:
                break
    missing = sum(short.values())
    while missing > 0 and (shortest := _shortest_left(streams, cut, wanted)):
        name, number = shortest
        before = cut[name][0].samples
        cut[name] = _with(streams[name], *cut[name], number, sequence_length)
        missing -= cut[name][0].samples - before
    return {name: piece for name, (piece, _) in cut.items()}, {name: cursor for name, (_, cursor) in cut.items()}


def _helpers(streams: Mapping[str, Stream], wanted: Mapping[str, Wanted], short: str) -> list[str]:
    others = [name for name in wanted if name != short]
    return sorted(others, key=lambda name: (streams[name].domain != streams[short].domain, -wanted[name].samples, name))


def _shortest_left(
    streams: Mapping[str, Stream], cut: Mapping[str, tuple[Slice, Cursor]], wanted: Mapping[str, Wanted]
) -> tuple[str, int] | None:
    """Source and number of the shortest document that is next in any source."""
    found = []
    for name, (_, cursor) in cut.items():
        stream = streams[name]
        if candidates := stream.next_of(cursor, wanted[name].minimum):
            lengths = np.where(candidates.mask(slice(None)), stream.lengths, np.iinfo(np.int32).max)
            number = int(lengths.argmin())
            if cursor.tokens + int(lengths[number]) <= stream.most_tokens:
                found.append((int(lengths[number]), name, number))
    return min(found)[1:] if found else None


def _with(stream: Stream, piece: Slice, cursor: Cursor, number: int, sequence_length: int) -> tuple[Slice, Cursor]:
    """One document more."""
    length = int(stream.lengths[number])
    readings = cursor.readings.copy()
    readings[number] += 1
    tokens = piece.tokens + length
    samples = max(0, (tokens - 1) // sequence_length)
    repeated = piece.repeated + bool(cursor.epoch + cursor.readings[number])
    more = Slice(np.append(piece.documents, np.int32(number)), tokens, samples, repeated)
    return more, settled(stream, cursor._replace(readings=readings), length)
