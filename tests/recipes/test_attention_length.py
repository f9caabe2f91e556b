"""The expected reach of attention against documents cut at random."""

import random

import pytest

from recipes.attention_length import expected_attention_length


@pytest.mark.parametrize(("mean", "sequence"), [(20, 64), (64, 64), (300, 64)])
def test_it_is_that_of_documents_that_end_anywhere(mean: int, sequence: int) -> None:
    draw = random.Random(0)
    pairs = 0
    for _ in range(20_000):
        run = 0
        for _ in range(sequence):
            run += 1
            if draw.random() < 1 / mean:
                pairs, run = pairs + run * run, 0
        pairs += run * run
    assert expected_attention_length(mean, sequence) == pytest.approx(pairs / (20_000 * sequence), rel=0.03)


def test_long_documents_fill_sequences_and_short_ones_count_twice() -> None:
    assert expected_attention_length(10**7, 4096) == pytest.approx(4096, rel=1e-3)
    assert expected_attention_length(10, 4096) == pytest.approx(20, rel=0.01)  # long ones hold most tokens
