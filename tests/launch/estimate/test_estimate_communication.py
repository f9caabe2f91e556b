"""Bytes and hops of collectives, against walking round the ring."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launch.estimate.arithmetic import Layout, Network
from launch.estimate.communication import Machine, ring, traffic
from recipes.load import load_recipe

MN5 = Machine.of(4, 989, 2000, 450, 800)
QWEN = Network.of(load_recipe("qwen3_4b").model.shape)


@given(st.integers(2, 64), st.sampled_from([1, 2, 4]), st.integers(1, 50))
def test_a_ring_pass_takes_every_step_but_one(ranks: int, per_node: int, calls: int) -> None:
    """Every rank sends its part on n - 1 times, so a part crosses all links but one: count those between nodes."""
    nodes = [rank // per_node for rank in range(ranks)]
    between = sum(one != following for one, following in pairwise(nodes))
    wire = ring(1000.0 * ranks, ranks, per_node, calls, MN5)
    if between:
        assert (wire.nvlink_bytes, wire.network_bytes) == (0, pytest.approx(1000 * (ranks - 1) * 4 / per_node))
    else:
        assert (wire.nvlink_bytes, wire.network_bytes) == (pytest.approx(1000 * (ranks - 1)), 0)
    assert wire.latency == pytest.approx(calls * ((ranks - 1 - between) * 3.4e-6 + between * 14e-6 + 8.4e-6))


def test_a_node_carries_as_many_rings_at_once_as_it_has_gpus_outside_each() -> None:
    whole, quarter = ring(1e9, 400, 4, 1, MN5), ring(1e9, 100, 1, 1, MN5)
    assert whole.network_bytes == pytest.approx(1e9 * 399 / 400)
    assert quarter.network_bytes == pytest.approx(4e9 * 99 / 100)


def test_the_published_layout_moves_fp32_gradients_and_bf16_weights_once_a_step() -> None:
    sent = traffic(QWEN, Layout(400, 4096, 1, 1), MN5)
    assert sent.reduce.network_bytes == pytest.approx(4 * QWEN.parameters * 399 / 400)
    assert sent.gather_forward.network_bytes == pytest.approx(2 * QWEN.parameters * 399 / 400)
    assert sent.reduce.calls == 11  # Megatron-Core's buckets of 1 M parameters per rank
    assert sent.gather_backward.latency == sent.tensor.latency == sent.context.latency == 0
    assert not sent.every_micro_batch


def test_sharded_weights_are_gathered_twice_and_kept_ones_once() -> None:
    full = traffic(QWEN, Layout(400, 4096, 1, 1, sharding="full"), MN5)
    kept = traffic(QWEN, Layout(400, 4096, 1, 1, sharding="gradients"), MN5)
    assert full.gather_backward == full.gather_forward == kept.gather_forward
    assert kept.gather_backward.network_bytes == 0


def test_hybrid_sharding_gathers_inside_nodes() -> None:
    sent = traffic(QWEN, Layout(400, 4096, 1, 1, sharding="hybrid", reduce_bytes=2), MN5)
    assert sent.gather_forward.network_bytes == 0
    shard = 2 * QWEN.parameters / 4
    assert sent.reduce.network_bytes == pytest.approx(2 * 4 * shard * 99 / 100)  # there and back, four rings at once


def test_tensor_parallelism_sends_ten_activations_per_layer() -> None:
    sent = traffic(QWEN, Layout(4, 4096, 1, 1, tensor=4), MN5)
    assert sent.tensor.nvlink_bytes == pytest.approx(10 * 36 * 2 * 4096 * 2560 * 3 / 4)
    assert sent.reduce.latency == 0  # one data-parallel rank
