"""What the plan expects of readings by length, against documents drawn one by one."""

import numpy as np
import pytest

from recipes.readings import SourceSize, unread


def test_without_minimums_a_source_is_one_class() -> None:
    readings = unread(SourceSize("laws", "legal", 1000), {1})
    assert readings.left(1, 2.5) == 2500
    after = readings.after(1, 700).after(1, 700)
    assert (after.left(1, 2.5), after.most) == (1100, 1.4)


def test_classes_are_told_apart_by_the_minimums_asked() -> None:
    readings = unread(SourceSize("theses", "legal", 1000, {10: 600, 50: 100}), {1, 10, 50})
    assert readings.tokens == (400, 500, 100)
    after = readings.after(50, 250)
    assert (after.left(50, 4), after.left(10, 4), after.left(1, 4)) == (150, 2150, 3750)
    assert after.most == 2.5
    level = after.after(1, 900)  # all that was never read
    assert [float(read) for read in level.read] == [400, 500, 250]


@pytest.mark.parametrize("phases", [[(1, 0.5), (30, 0.4), (1, 0.7), (30, 0.1), (1, 0.9)]])
def test_the_expectation_is_that_of_the_rule(phases: list[tuple[int, float]]) -> None:
    """Documents of one token each, some of them `long`: read those read least often, in a random order."""
    count, long = 20_000, 5_000
    random, times = np.random.RandomState(1), np.zeros(20_000, int)
    readings = unread(SourceSize("laws", "legal", count, {30: long}), {1, 30})
    for minimum, share in phases:
        tokens = int(share * count)
        open_ = np.arange(long) if minimum == 30 else np.arange(count)
        for _ in range(10):
            next_ = random.permutation(open_[times[open_] == times[open_].min()])[:tokens]
            times[next_] += 1
            tokens -= len(next_)
        readings = readings.after(minimum, int(share * count))
        found = [times[long:].sum(), times[:long].sum()]
        assert np.allclose([float(read) for read in readings.read], found, atol=0.01 * count)
