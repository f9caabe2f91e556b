"""Advice against brute force: simulated failures, minimised cost, counted divisors."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats

from launch.estimate.advice import (
    RISK,
    dividing_nodes,
    divisions,
    down_at_once,
    expected_failures,
    saving,
    spare_nodes,
)


@given(st.floats(1e9, 1e12), st.integers(1, 2000), st.floats(100, 1e5))
def test_dalys_interval_minimises_the_expected_time(size: float, nodes: int, hours: float) -> None:
    """Daly's model: exponential failures; a segment of τ + δ is repeated until it passes. Cost per useful second:
    M (e^((τ + δ) / M) - 1) / τ.
    """
    saves = saving(int(size / 14), 1e9, nodes, hours, 10)
    assert (saves.save, saves.between_failures) == (
        pytest.approx(size / 1e9, rel=1e-6),
        pytest.approx(hours * 3600 / nodes),
    )
    if saves.save > saves.between_failures / 4:
        return

    def cost(interval: float) -> float:
        return saves.between_failures * math.expm1((interval + saves.save) / saves.between_failures) / interval

    best = optimize.minimize_scalar(cost, bounds=(saves.save / 10, 3 * saves.between_failures), method="bounded")
    assert cost(saves.daly) <= best.fun * 1.01
    assert saves.daly <= saves.young


def test_when_saving_takes_longer_than_failing_the_interval_is_the_failures() -> None:
    saves = saving(int(1e12), 1e9, 1000, 100, 10)
    assert saves.daly == saves.between_failures


@given(st.integers(1, 500), st.integers(0, 6), st.floats(100, 1e5), st.floats(0.1, 100))
def test_risk_is_the_tail_of_a_poisson_distribution(nodes: int, spares: int, between: float, repair: float) -> None:
    mean = (nodes + spares) * repair / between
    assert down_at_once(nodes, spares, between, repair) == pytest.approx(stats.poisson.sf(spares, mean), abs=1e-9)


@given(st.integers(1, 500), st.floats(1000, 1e5), st.floats(1, 48))
def test_spares_are_the_fewest_that_keep_the_risk(nodes: int, between: float, repair: float) -> None:
    spares = spare_nodes(nodes, between, repair)
    assert down_at_once(nodes, spares, between, repair) <= RISK
    if spares:
        assert down_at_once(nodes, spares - 1, between, repair) > RISK


def test_failures_are_node_hours_over_the_time_between_them() -> None:
    assert expected_failures(100, 127, 12_700) == pytest.approx(1)


@given(st.integers(1, 40), st.sampled_from([1, 4, 8]), st.integers(1, 8), st.integers(1, 4), st.integers(1, 2000))
def test_batches_that_divide(nodes: int, gpus: int, model_parallel: int, micro: int, batch: int) -> None:
    for division in divisions(nodes, gpus, model_parallel, micro, batch, 1):
        unit = division.nodes * gpus // model_parallel * micro
        fitting = range(unit, batch + unit + 1, unit)
        assert division.above == min(size for size in fitting if size > batch)
        assert division.below == max((size for size in fitting if size <= batch), default=None)
        assert division.divides == (batch % unit == 0)
    expected = [
        left
        for left in range(nodes, 0, -1)
        if (left * gpus) % model_parallel == 0 and batch % (left * gpus // model_parallel * micro) == 0
    ]
    assert dividing_nodes(nodes, gpus, model_parallel, micro, batch) == expected
