"""The reach of attention inside documents, against laying them out and counting."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.masked_attention import attention_length, mean_length
from data_prep.shard_receipts import shard_receipts
from data_prep.streams import read_indices
from recipes.layout import RunFolder
from recipes.load import load_recipe

LENGTHS = st.lists(st.integers(1, 50), min_size=1, max_size=8)


@given(LENGTHS, st.integers(2, 24))
def test_concatenated_documents_begin_anywhere(lengths: list[int], sequence: int) -> None:
    """Pieces of every document for every place in a sequence that it may begin at; the formula counts with tokens
    infinitely small, so that pieces are compared over places between tokens too.
    """
    steps = 20
    squares = 0.0
    for length in lengths:
        for step in range(sequence * steps):
            first = (step + 0.5) / steps  # of the sequence left when the document begins
            rest = max(0.0, length - first)
            squares += (min(length, first) ** 2 + rest // sequence * sequence**2 + (rest % sequence) ** 2) / steps
    expected = squares / sequence / sum(lengths)
    assert mean_length(np.array(lengths, np.int32), sequence, "concatenate") == pytest.approx(expected, rel=2e-3)


@given(LENGTHS, st.integers(2, 24))
def test_best_fit_cuts_only_what_is_longer_than_a_sequence(lengths: list[int], sequence: int) -> None:
    pieces = [min(sequence, length - at) for length in lengths for at in range(0, length, sequence)]
    expected = sum(piece**2 for piece in pieces) / sum(pieces)
    assert mean_length(np.array(lengths, np.int32), sequence, "best_fit") == pytest.approx(expected)


def test_it_is_never_above_a_sequence_or_a_document() -> None:
    lengths = np.array([10_000, 3], np.int32)
    assert mean_length(lengths, 64, "concatenate") <= 64
    assert mean_length(lengths[1:], 64, "concatenate") <= 3


def test_a_phase_reads_its_sources_by_their_shares_and_only_documents_that_are_long_enough(
    sample_run: RunFolder,
) -> None:
    indices = read_indices(shard_receipts(sample_run), sample_run)
    name, index = next(iter(indices.items()))
    recipe = load_recipe("qwen3_tiny", [f"phases.1.mixture={{{name}: 1.0}}"])
    assert attention_length(recipe, 1, sample_run) == mean_length(index.lengths, 256, "concatenate")
    minimum = int(np.median(index.lengths))
    longer = load_recipe(
        "qwen3_tiny", [f"phases.1.mixture={{{name}: 1.0}}", f"phases.1.minimum_document_tokens={{{name}: {minimum}}}"]
    )
    kept = index.lengths[index.lengths >= minimum]
    assert attention_length(longer, 1, sample_run) == mean_length(kept, 256, "concatenate")
    whole = attention_length(load_recipe("qwen3_tiny"), 1, sample_run)
    assert whole is not None and 0 < whole < 256


def test_without_shards_it_is_not_known(tmp_path: Path) -> None:
    assert attention_length(load_recipe("qwen3_tiny"), 1, RunFolder(tmp_path)) is None
