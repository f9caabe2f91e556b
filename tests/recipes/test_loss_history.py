import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recipes.loss_history import CONSISTENCY, LEAST_DEVIATION, LossHistory
from recipes.schema import Faults

LOSSES = st.floats(0.01, 20)


def filled(losses: list[float], **fields: object) -> LossHistory:
    history = LossHistory(Faults(**{"window": len(losses)} | fields))
    for loss in losses:
        history.add(loss, skipped=False)
    return history


@given(st.lists(LOSSES, min_size=4, max_size=40), st.floats(1, 20))
def test_the_threshold_is_the_median_and_so_many_robust_deviations(losses: list[float], deviations: float) -> None:
    median = statistics.median(losses)
    distances = sorted(abs(loss - median) for loss in losses)
    middle = (distances[(len(losses) - 1) // 2] + distances[len(losses) // 2]) / 2
    expected = median + deviations * max(CONSISTENCY * middle, LEAST_DEVIATION * median)
    history = filled(losses, spike_deviations=deviations)
    assert history.threshold() == pytest.approx(expected)
    assert history.fault(math.nextafter(history.threshold(), math.inf), finite=True) == "spike"
    assert history.fault(history.threshold(), finite=True) is None


@given(st.lists(LOSSES, min_size=4, max_size=40), LOSSES)
def test_a_scale_of_all_losses_changes_no_verdict(losses: list[float], loss: float) -> None:
    doubled = filled([2 * one for one in losses])
    assert doubled.fault(2 * loss, finite=True) == filled(losses).fault(loss, finite=True)


@given(st.lists(LOSSES, min_size=9, max_size=41), st.data())
def test_a_few_wild_losses_do_not_hide_the_next(losses: list[float], data: st.DataObject) -> None:
    calm = [2 + 0.001 * loss for loss in losses]
    wild = data.draw(st.integers(0, (len(calm) - 1) // 2))
    assert filled([1000.0] * wild + calm[wild:]).fault(1000.0, finite=True) == "spike"


@given(st.lists(LOSSES, min_size=1, max_size=30), st.integers(4, 40))
def test_there_is_no_spike_before_a_window_is_full(losses: list[float], window: int) -> None:
    history = filled(losses, window=window)
    assert (history.threshold() is None) == (len(losses) < window)


def test_nan_comes_first_and_leaves_no_loss_behind() -> None:
    history = filled([2.0] * 8)
    assert history.fault(math.nan, finite=False) == "nan"
    history.add(math.nan, skipped=True)
    assert history.threshold() == pytest.approx(2.16)
    for _ in range(4):
        history.add(math.inf, skipped=True)
    assert history.threshold() is None  # most of the window is unknown


@given(st.lists(st.booleans(), max_size=60), st.integers(4, 12), st.integers(0, 6))
def test_a_window_never_holds_more_skipped_batches_than_allowed(
    wanted: list[bool], window: int, max_skipped: int
) -> None:
    history = LossHistory(Faults(window=window, max_skipped=max_skipped))
    for skip in wanted:
        history.add(2.0, skipped=skip and history.may_skip())
        assert sum(one.skipped for one in history.iterations) <= max_skipped


def test_it_goes_on_from_what_was_saved() -> None:
    history = filled([3.0, 2.0, 2.5, 2.2, 2.4])
    assert LossHistory(history.faults, list(history.iterations)).threshold() == history.threshold()
