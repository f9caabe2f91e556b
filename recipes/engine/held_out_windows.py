"""Held-out documents as windows of tokens: the same in every phase, every layout and after every restart.

The windows are those of `cpt evaluate`: a document stands by itself behind one separator, so that its first token is
predicted as well; a longer one is cut into windows that do not overlap, each of which sees the last token before it as
its only context; the separator is never predicted.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

SHARE_OF_ONE_DOCUMENT = 8  # no document fills more than an eighth of its source's budget, but a whole window


class Window(NamedTuple):
    """Tokens int64 [2 .. sequence_length + 1]: inputs are all but the last, labels all but the first."""

    source: str
    tokens: NDArray[np.int64]


def read_windows(
    folder: Path, sources: Iterable[str], tokens_per_source: int, sequence_length: int, separator_id: int
) -> list[Window]:
    """Windows of at most `tokens_per_source` predicted tokens of every one of `sources`.

    Args:
        folder: with <source>.bin and <source>.idx, whose documents end in the separator.
    """
    from megatron.core.datasets.indexed_dataset import IndexedDataset

    windows = []
    for source in sources:
        documents = IndexedDataset(str(folder / source))
        chosen = choose(documents.sequence_lengths - 1, tokens_per_source, sequence_length)
        for number, length in chosen:
            ids = documents.get(number)[:length].astype(np.int64)
            windows += [Window(source, tokens) for tokens in cut(ids, separator_id, sequence_length)]
    return windows


def choose(lengths: NDArray[np.integer], budget: int, sequence_length: int) -> Iterator[tuple[int, int]]:
    """(number, tokens to take from its beginning) of documents of `lengths` tokens, always the same.

    At random, because a corpus lies in the order of its files, often of years; by numpy's RandomState, whose streams
    never change.
    """
    cap = max(sequence_length, budget // SHARE_OF_ONE_DOCUMENT)
    for number in np.random.RandomState(0).permutation(len(lengths)):
        take = min(cap, budget, int(lengths[number]))
        if take > 0:
            budget -= take
            yield int(number), take


def cut(ids: NDArray[np.int64], separator_id: int, sequence_length: int) -> Iterator[NDArray[np.int64]]:
    """One document, without its separator, as windows."""
    stream = np.concatenate([[separator_id], ids])
    for start in range(0, len(ids), sequence_length):
        yield stream[start : start + sequence_length + 1]
