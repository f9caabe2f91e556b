"""Counts of one step, against the shape's own formulas and against counting by hand."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launch.estimate.arithmetic import Layout, Network, work
from recipes.load import load_recipe
from recipes.shape import Qwen3Shape

QWEN = load_recipe("qwen3_4b").model.shape
ONE = Layout(gpus=1, sequence_length=4096, micro_batch=1, accumulation=1)

shapes = st.builds(
    Qwen3Shape,
    vocab_size=st.integers(1, 200_000),
    hidden_size=st.integers(1, 8192),
    intermediate_size=st.integers(1, 32768),
    num_hidden_layers=st.integers(1, 80),
    num_attention_heads=st.sampled_from([8, 16, 64]),
    num_key_value_heads=st.sampled_from([1, 4, 8]),
    head_dim=st.sampled_from([10, 64, 128]),
    tie_word_embeddings=st.booleans(),
    max_position_embeddings=st.just(1),
)


@given(shapes, st.integers(1, 100_000))
def test_flops_per_token_are_those_of_the_shape(shape: Qwen3Shape, sequence_length: int) -> None:
    assert Network.of(shape).flops_per_token(sequence_length) == pytest.approx(shape.flops_per_token(sequence_length))


@given(shapes)
def test_parameters_are_those_of_the_shape_without_norms(shape: Qwen3Shape) -> None:
    norms = shape.num_hidden_layers * 2 * (shape.hidden_size + shape.head_dim) + shape.hidden_size
    assert Network.of(shape).parameters == shape.parameters - norms


def test_a_step_costs_what_the_formula_of_mfu_counts_plus_what_flash_attention_repeats() -> None:
    network = Network.of(QWEN)
    done = work(network, ONE, 4)
    matmul = done.forward_matmul_flops + done.backward_matmul_flops
    attention = done.forward_attention_flops + done.backward_attention_flops
    counted = matmul + attention * 3 / 3.5  # flash attention's backward pass: 5 products where 4 are counted
    assert counted == pytest.approx(network.flops_per_token(4096) * 4096)


def test_recomputing_repeats_forward_passes() -> None:
    network = Network.of(QWEN)
    none, full = work(network, ONE, 4), work(network, replace(ONE, recompute="full"), 4)
    layers = 2 * 4096 * network.layers * network.layer_weights
    assert full.backward_matmul_flops - none.backward_matmul_flops == pytest.approx(layers)
    assert full.backward_attention_flops - none.backward_attention_flops == none.forward_attention_flops
    some = work(network, replace(ONE, recompute="selective", loss_chunk_tokens=1024), 4)
    feed_forward = 2 * 4096 * network.layers * 3 * 2560 * 9728
    logits = 2 * 4096 * 151936 * 2560
    assert some.backward_matmul_flops - none.backward_matmul_flops == pytest.approx(feed_forward + logits)


@pytest.mark.parametrize("split", [{"tensor": 4}, {"pipeline": 4}, {"context": 4}, {"tensor": 2, "pipeline": 2}])
def test_model_parallel_ranks_share_one_ranks_arithmetic(split: dict[str, int]) -> None:
    network = Network.of(QWEN)
    whole, part = work(network, ONE, 4), work(network, replace(ONE, gpus=4, **split), 4)
    for count in ("forward_matmul_flops", "backward_attention_flops", "forward_activation_bytes", "logit_bytes"):
        assert getattr(part, count) * 4 == pytest.approx(getattr(whole, count))


def test_the_optimizer_is_split_over_all_ranks_that_share_weights() -> None:
    network = Network.of(QWEN)
    one, many = work(network, ONE, 4), work(network, replace(ONE, gpus=400), 4)
    checks = 3 * 4 * network.parameters
    assert many.step_bytes - checks == pytest.approx((one.step_bytes - checks) / 400)
