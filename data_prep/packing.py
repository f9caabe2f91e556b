"""Best-fit packing: documents that fit into a sequence are never cut, for a little padding.

Ding et al. 2024, "Fewer truncations improve language modeling" (arXiv 2404.10830): documents longer than a sequence are
cut into pieces, and best-fit decreasing puts all pieces into sequences. It runs on the histogram of their lengths: all
pieces of one length go to all packs with the same room at once, so that its time depends on the sequence length only.
"""

from bisect import bisect_left, bisect_right, insort
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from data_prep.indexed import Index, ShardWriter

PADDING = -1  # what recipes.engine.dataset.SeparatorTokenizer calls `pad`
DTYPE = np.dtype("<i4")  # of packed tokens: the padding has to fit in
BLOCK_TOKENS = 1 << 22  # in memory at once while packs are written


class Packs(NamedTuple):
    """Which pieces of which documents make up each pack."""

    sequence_length: int
    documents: NDArray[np.int32]  # [pieces], pack by pack
    offsets: NDArray[np.int32]  # [pieces], the first token of the piece in its document
    lengths: NDArray[np.int32]  # [pieces], tokens, at most sequence_length
    starts: NDArray[np.int64]  # [packs + 1], the first piece of each pack

    @property
    def samples(self) -> int:
        """Packs; each is one sample of training."""
        return len(self.starts) - 1

    @property
    def used(self) -> int:
        """How many documents, from the first on, are in them."""
        return int(self.documents.max(initial=-1)) + 1

    @property
    def padding(self) -> float:
        """Fraction of the packs' places that hold no token; concatenation leaves none."""
        places = self.samples * self.sequence_length
        return 1 - int(self.lengths.sum(dtype=np.int64)) / places if places else 0.0

    def truncated(self, lengths: NDArray[np.int32]) -> float:
        """Fraction of the `used` first documents of `lengths` that are not whole in one pack."""
        pieces = np.bincount(self.documents, minlength=self.used)
        kept = np.bincount(self.documents, weights=self.lengths, minlength=self.used)
        return int(((pieces > 1) | (kept < lengths[: self.used])).sum()) / max(1, self.used)


class _Placed(NamedTuple):
    """Best fit decreasing, as runs of packs that take equally many pieces of one length, from the longest length on."""

    first: NDArray[np.int64]  # [runs], the first pack of the run
    packs: NDArray[np.int64]  # [runs], how many
    each: NDArray[np.int64]  # [runs], pieces that every pack of the run takes
    total: int  # packs


def pack(lengths: NDArray[np.int32], sequence_length: int, seed: int, samples: int | None = None) -> Packs:
    """Pack whole documents of `lengths` tokens into sequences.

    Args:
        lengths: [documents], tokens.
        seed: decides the order of the packs and of the documents in each.
        samples: give exactly so many packs: documents are packed from the first on for as long as their packs are not
            more; packs still missing take the beginning of the next document, whose end stays out. None: pack all.

    Raises:
        ValueError: all documents together fill fewer than `samples` packs.
    """
    document, offset, length = _pieces(lengths, sequence_length)
    whole = len(length) if samples is None else _fitting(lengths, length, sequence_length, samples)
    placed = _best_fit(length[:whole], sequence_length)
    total = placed.total if samples is None else samples
    end = whole + total - placed.total
    if end > len(length):
        raise ValueError(f"{len(lengths)} documents do not fill {samples} packs")
    packs = np.empty(end, np.int32)
    packs[np.argsort(-length[:whole], kind="stable")] = _pack_numbers(placed)
    packs[whole:] = np.arange(placed.total, total)
    order, starts = _shuffled_groups(packs, total, seed)
    return Packs(sequence_length, document[order], offset[order], length[order], starts)


def write_packed(
    prefix: Path, tokens: NDArray[np.integer], index: Index, documents: NDArray[np.int32], packs: Packs
) -> str:
    """Write PREFIX.{bin,idx} in which every Megatron document is one pack, filled up with PADDING.

    Args:
        tokens: of the shard, as `read_tokens` maps them.
        index: of the shard.
        documents: [documents], the number in the shard of each document that was packed.

    Returns:
        sha256 of the .bin.
    """
    length, rows = packs.sequence_length, max(1, BLOCK_TOKENS // packs.sequence_length)
    with ShardWriter(prefix, DTYPE) as writer:
        for first in range(0, packs.samples, rows):
            starts = packs.starts[first : first + rows + 1]
            pieces = slice(int(starts[0]), int(starts[-1]))
            lengths = packs.lengths[pieces]
            sources = index.pointers[documents[packs.documents[pieces]]] // index.dtype.itemsize + packs.offsets[pieces]
            before = np.cumsum(lengths, dtype=np.int64) - lengths
            held = np.diff(starts)
            targets = before + np.repeat(np.arange(len(held)) * length - before[starts[:-1] - starts[0]], held)
            block = np.full(len(held) * length, PADDING, DTYPE)
            for target, source, size in zip(targets.tolist(), sources.tolist(), lengths.tolist(), strict=True):
                block[target : target + size] = tokens[source : source + size]
            writer.append(block, np.full(len(held), length))
    return writer.digest


def _fitting(lengths: NDArray[np.int32], pieces: NDArray[np.int32], sequence_length: int, samples: int) -> int:
    """How many pieces, from the first on and of whole documents, fill at most `samples` packs."""
    ends = np.concatenate([[0], np.cumsum(-(-lengths // sequence_length))])

    def packs(documents: int) -> int:
        return _best_fit(pieces[: ends[documents]], sequence_length).total

    tokens = np.cumsum(lengths, dtype=np.int64)
    low = int(np.searchsorted(tokens, samples * sequence_length, side="right"))
    above, step = low + 1, 1
    while packs(low) > samples:
        low, above, step = max(0, low - step), low, 16 * step
    return int(ends[bisect_right(range(low, above), samples, key=packs) + low - 1])


def _pieces(
    lengths: NDArray[np.int32], sequence_length: int
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    """Cut documents after every sequence_length tokens: document, offset and length of each piece, [pieces]."""
    counts = -(-lengths // sequence_length)
    documents = np.repeat(np.arange(len(lengths), dtype=np.int32), counts)
    offsets = (_runs(np.zeros_like(counts), counts) * sequence_length).astype(np.int32)
    return documents, offsets, np.minimum(lengths[documents] - offsets, sequence_length).astype(np.int32)


def _best_fit(lengths: NDArray[np.int32], sequence_length: int) -> _Placed:
    """Best-fit decreasing of pieces of `lengths` tokens: each goes to the fullest pack that has room, or to a new one.

    Of the packs with the least room that suffices, each takes as many pieces of the length as it can hold before the
    next one is touched: after a piece its room is even less.
    """
    counts = np.bincount(lengths, minlength=sequence_length + 1)
    open_packs: dict[int, list[tuple[int, int]]] = {}  # room -> runs of packs, as first and end
    rooms: list[int] = []  # keys of open_packs, ascending
    placed: list[tuple[int, int, int]] = []
    total = 0

    def give(first: int, end: int, room: int) -> None:
        if first < end and room:
            if room not in open_packs:
                open_packs[room] = []
                insort(rooms, room)
            open_packs[room].append((first, end))

    for length in np.flatnonzero(counts)[::-1].tolist():
        left = int(counts[length])
        while left:
            at = bisect_left(rooms, length)
            if at < len(rooms):
                room = rooms[at]
                first, end = open_packs[room].pop()
                if not open_packs[room]:
                    del open_packs[room], rooms[at]
            else:
                room, first = sequence_length, total
                end = total = first - (-left // (room // length))
            each = room // length
            full = first + min(end - first, left // each)
            left -= (full - first) * each
            partly = full + (full < end and left > 0)
            placed += [(first, full - first, each)] * (first < full) + [(full, 1, left)] * (full < partly)
            give(first, full, room - each * length)
            give(full, partly, room - left * length)
            give(partly, end, room)
            left -= left * (full < partly)
    runs = np.array(placed, np.int64).reshape(-1, 3)
    return _Placed(runs[:, 0], runs[:, 1], runs[:, 2], total)


def _pack_numbers(placed: _Placed) -> NDArray[np.int64]:
    """The pack of every piece, from the longest on."""
    return np.repeat(_runs(placed.first, placed.packs), np.repeat(placed.each, placed.packs))


def _runs(starts: NDArray[np.integer], sizes: NDArray[np.integer]) -> NDArray[np.int64]:
    """Count up from each start: [start, start + 1, …] of each size, one after the other."""
    ends = np.cumsum(sizes, dtype=np.int64)
    return np.arange(int(ends[-1]) if len(ends) else 0, dtype=np.int64) + np.repeat(starts - (ends - sizes), sizes)


def _shuffled_groups(packs: NDArray[np.int32], count: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pieces by pack: packs in a random order, pieces of each in a random order; `RandomState` never changes."""
    random = np.random.RandomState(seed)
    renamed = random.permutation(count).astype(np.int32)[packs]
    mixed = random.permutation(len(packs))
    order = mixed[np.argsort(renamed[mixed], kind="stable")]
    starts = np.zeros(count + 1, np.int64)
    np.cumsum(np.bincount(renamed, minlength=count), out=starts[1:])
    return order, starts
