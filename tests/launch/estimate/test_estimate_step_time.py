"""Seconds of a step: they add up, and move the right way."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launch.estimate.arithmetic import Layout, Network
from launch.estimate.calibration import calibration
from launch.estimate.communication import Machine
from launch.estimate.step_time import Fabric, Rates, breakdown, count
from recipes.load import load_recipe

MN5 = Machine.of(4, 989, 2000, 450, 800)
QWEN = Network.of(load_recipe("qwen3_4b").model.shape)
RATES = calibration().ours
STATED = Layout(400, 4096, 1, 1)

layouts = st.builds(
    Layout,
    gpus=st.sampled_from([8, 64, 400]),
    sequence_length=st.sampled_from([512, 4096, 32768]),
    micro_batch=st.integers(1, 4),
    accumulation=st.integers(1, 8),
    tensor=st.sampled_from([1, 2, 4]),
    pipeline=st.sampled_from([1, 2]),
    sharding=st.sampled_from(["optimizer", "gradients", "full"]),
    recompute=st.sampled_from(["none", "selective", "full"]),
)


def seconds(layout: Layout, machine: Machine = MN5, rates: Rates = RATES) -> float:
    return breakdown(count(QWEN, layout, machine), rates).total


@given(layouts)
def test_better_hardware_is_never_slower(layout: Layout) -> None:
    for field in ("peak_flops", "memory_bandwidth", "nvlink", "network"):
        assert seconds(layout, replace(MN5, **{field: 2 * getattr(MN5, field)})) <= seconds(layout) * (1 + 1e-12)


@given(layouts)
def test_hiding_communication_and_halving_gradients_never_cost(layout: Layout) -> None:
    assert seconds(layout) <= seconds(replace(layout, overlap_data=False))
    assert seconds(replace(layout, overlap_tensor=True)) <= seconds(layout)
    assert seconds(replace(layout, reduce_bytes=2)) <= seconds(layout)


@given(layouts)
def test_computing_again_costs_where_communication_hides_beside_nothing(layout: Layout) -> None:
    """Where it does hide beside arithmetic, more arithmetic may even hide more of it."""
    plain = Rates(RATES.kernels, replace(RATES.fabric, hidden=0.0))
    none, some, full = (seconds(replace(layout, recompute=kind), rates=plain) for kind in ("none", "selective", "full"))
    assert none < some < full


def test_a_pipeline_waits_for_stages_less_one_over_virtual_stages() -> None:
    ideal = Rates(RATES.kernels, Fabric(1, 1, 0, 0, 0))
    four = Layout(4, 4096, 1, 8, pipeline=4)
    parts = breakdown(count(QWEN, four, MN5), ideal)
    one_micro_batch = (parts.total - parts.bubble - parts.optimizer) / 8
    assert parts.bubble == pytest.approx(3 * one_micro_batch)
    assert breakdown(count(QWEN, replace(four, virtual_stages=3), MN5), ideal).bubble == pytest.approx(one_micro_batch)


def test_communication_that_nothing_hides_is_all_waited_for() -> None:
    blocked = breakdown(count(QWEN, replace(STATED, overlap_data=False), MN5), RATES)
    wire = 800e9 / 8 * RATES.fabric.network
    hops = 11 * (300 * 3.4e-6 + 99 * 14e-6 + 8.4e-6)
    assert blocked.reduce == pytest.approx(4 * QWEN.parameters * 399 / 400 / wire + hops)
    assert blocked.gather == pytest.approx(2 * QWEN.parameters * 399 / 400 / wire + hops)


def test_accumulation_reduces_once_and_sharded_weights_every_time() -> None:
    once = breakdown(count(QWEN, replace(STATED, accumulation=4), MN5), RATES)
    assert once.reduce == breakdown(count(QWEN, STATED, MN5), RATES).reduce
    sharded = [
        breakdown(count(QWEN, replace(STATED, accumulation=times, sharding="full"), MN5), RATES).reduce
        for times in (1, 4)
    ]
    assert sharded[1] == pytest.approx(4 * sharded[0])
