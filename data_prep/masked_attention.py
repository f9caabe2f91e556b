"""How many tokens attention reaches over where it stays inside documents, from the lengths of a run's documents."""

import numpy as np
from numpy.typing import NDArray

from data_prep.index_checks import chunks
from data_prep.shard_receipts import shard_receipts
from data_prep.streams import open_streams, read_indices, sizes_of_streams
from recipes.layout import RunFolder
from recipes.schema import Packing, Recipe
from recipes.shares import minimum_of, source_shares


def attention_length(recipe: Recipe, number: int, run: RunFolder) -> float | None:
    """Tokens, the mean over all that phase `number` (from 1) reads; None before the shards of `run` are all built.

    `recipes.attention_length` says what is counted.
    """
    receipts = shard_receipts(run)
    if not receipts:
        return None
    phase = recipe.phase(number)
    streams = open_streams(recipe, receipts, read_indices(receipts, run))
    sizes = {size.name: size for size in sizes_of_streams(recipe, streams)}
    return sum(
        share
        * mean_length(
            _read(streams[name].lengths, minimum_of(phase, sizes[name])), phase.sequence_length, phase.packing
        )
        for name, share in source_shares(recipe, number, list(sizes.values())).items()
    )


def mean_length(lengths: NDArray[np.integer], sequence_length: int, packing: Packing) -> float:
    """For documents of `lengths` [documents], tokens, put into sequences.

    Concatenated, a document begins anywhere in a sequence: two of its tokens at distance t are in one sequence with
    probability 1 - t / sequence_length, and there are length - t such pairs. Best-fit packing cuts only documents that
    are longer than a sequence, into whole ones and a rest.
    """
    total = sum(
        float(_twice_the_pairs(lengths[part].astype(np.float64), sequence_length, packing).sum())
        for part in chunks(len(lengths))
    )
    return total / float(lengths.sum(dtype=np.int64))


def _twice_the_pairs(lengths: NDArray[np.float64], sequence_length: int, packing: Packing) -> NDArray[np.float64]:
    if packing == "best_fit":
        whole, rest = np.divmod(lengths, sequence_length)
        return whole * sequence_length**2 + rest**2
    reach = np.minimum(lengths, sequence_length)
    return lengths * reach * (2 - reach / sequence_length) - reach**2 + 2 * reach**3 / (3 * sequence_length)


def _read(lengths: NDArray[np.integer], minimum: int) -> NDArray[np.integer]:
    """Those that a phase may read."""
    return lengths[lengths >= max(1, minimum)]
