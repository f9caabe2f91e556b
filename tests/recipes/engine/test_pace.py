import pytest
from hypothesis import given
from hypothesis import strategies as st

from recipes.engine.pace import Pace

FLOPS = 100.0


def test_time_left_is_flops_left_at_the_present_rate() -> None:
    pace = Pace(0.0)
    assert pace.interval(2.0, FLOPS) == 2.0
    assert pace.seconds_for(5 * FLOPS) == pytest.approx(10.0)


def test_a_pause_is_no_training_and_takes_its_share_of_what_is_left() -> None:
    pace = Pace(0.0)
    pace.interval(2.0, FLOPS)
    pace.stop(2.0)  # a checkpoint
    pace.stop(2.5)  # and what belongs to it
    pace.go_on(3.0)
    pace.go_on(3.5)
    assert pace.interval(5.0, FLOPS) == 2.0
    assert pace.seconds_for(4 * FLOPS) == pytest.approx(4 * 2.0 * 5 / 4)  # 5 seconds for 4 of training


def test_one_slow_step_does_not_change_the_rate() -> None:
    pace = Pace(0.0)
    ends = [1.0, 2.0, 62.0, 63.0, 64.0]
    for end in ends:
        pace.interval(end, FLOPS)
    assert pace.seconds_for(FLOPS) == pytest.approx(1.0)


def test_the_rate_is_that_of_the_recent_past() -> None:
    pace, now = Pace(0.0), 0.0
    for seconds in [10.0] * 50 + [1.0] * 50:
        now += seconds
        pace.interval(now, FLOPS)
    assert pace.seconds_for(FLOPS) == pytest.approx(1.0)


@given(st.lists(st.tuples(st.floats(0.01, 100), st.floats(0, 100)), min_size=1, max_size=40))
def test_at_a_steady_rate_the_time_for_what_was_done_is_the_time_it_took(steps: list[tuple[float, float]]) -> None:
    """Whatever the lengths of intervals, as long as all come at the same FLOP/s, and wherever the pauses were."""
    pace, now = Pace(0.0), 0.0
    for seconds, pause in steps:
        pace.stop(now)
        now += pause
        pace.go_on(now)
        now += seconds
        assert pace.interval(now, seconds * FLOPS) == pytest.approx(seconds, abs=1e-9)
    assert pace.seconds_for(sum(seconds for seconds, _ in steps) * FLOPS) == pytest.approx(now)
