"""Bytes per rank: parameters against the model's own count, parts against arithmetic by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recipes.load import load_recipe
from recipes.memory import COMMUNICATOR, RESERVE, communicators, rank_memory, rank_parameters
from recipes.schema import Recompute

FOUR = load_recipe("qwen3_4b").model.shape
SMALL = load_recipe("qwen3_1p7b").model.shape
EMBEDDING = 151936 * 2560


@given(st.sampled_from([1, 2, 3, 4, 6, 9, 12]), st.booleans())
def test_stages_together_hold_every_parameter(pipeline: int, tied: bool) -> None:
    shape = FOUR.model_copy(update={"tie_word_embeddings": tied})
    held = sum(rank_parameters(shape, pipeline=pipeline, stage=stage) for stage in range(pipeline))
    copy = EMBEDDING if tied and pipeline > 1 else 0
    assert held == shape.parameters + copy


@pytest.mark.parametrize("tensor", [2, 4, 8])
def test_tensor_ranks_split_matrices_and_copy_norms(tensor: int) -> None:
    norms = 36 * 2 * (2560 + 128) + 2560
    assert (rank_parameters(FOUR, tensor) - norms) * tensor == FOUR.parameters - norms


def test_the_published_layout_by_hand() -> None:
    memory = rank_memory(FOUR, sequence_length=4096, micro_batch=1, data=400)
    assert memory.weights == 2 * FOUR.parameters
    assert memory.gradients == 4 * FOUR.parameters
    assert memory.optimizer == pytest.approx(12 * FOUR.parameters / 400, abs=1)
    per_token = 4 * 2560 + 3 * 4096 + 3 * 1024 + 2 * 32 + 3 * 9728
    assert memory.activations == 2 * 4096 * (36 * per_token + 2 * 2560)
    assert memory.logits == 10 * 4096 * 151936
    assert memory.buffers == 32 * 4096 + 4 * 4096 * 128 + 2 * EMBEDDING
    assert memory.communication == 2 * COMMUNICATOR
    assert memory.total == sum(vars(memory).values()) and memory.reserve == RESERVE


def test_fp32_has_no_master_weights_and_everything_else_is_as_wide_or_wider() -> None:
    mixed, fp32 = (
        rank_memory(FOUR, sequence_length=4096, micro_batch=1, data=8, precision=precision)
        for precision in ("bf16-mixed", "32")
    )
    assert fp32.weights == fp32.gradients == 4 * FOUR.parameters
    assert fp32.optimizer == FOUR.parameters
    assert mixed.activations < fp32.activations < 2 * mixed.activations  # the log-sum-exp is fp32 anyway
    assert fp32.logits >= mixed.logits


def test_tensor_parallel_ranks_gather_sequences_and_hold_their_part_of_the_largest_gradient() -> None:
    memory = rank_memory(SMALL, sequence_length=32768, micro_batch=1, data=100, tensor=4)
    gathered, gradient = 2 * 32768 * 2048, 2 * 151936 * 2048 // 4
    assert memory.buffers == 32 * 32768 + 4 * 32768 * 128 + gathered + gradient


def test_plain_modules_keep_more_and_add_up_chunks_of_the_largest_gradient() -> None:
    fused, plain = (
        rank_memory(SMALL, sequence_length=4096, micro_batch=2, loss_chunk_tokens=1024, modules=modules)
        for modules in ("transformer_engine", "plain")
    )
    assert plain.activations > 1.5 * fused.activations
    assert plain.buffers - fused.buffers == 2 * 2 * 151936 * 2048


def test_one_process_has_nobody_to_talk_to() -> None:
    assert communicators(1, 1, 1, 1) == 0
    assert communicators(2, 1, 1, 1) == 2
    assert communicators(2, 4, 2, 2) == 5


def test_chunks_of_the_loss_hold_that_part_of_the_logits() -> None:
    whole = rank_memory(SMALL, sequence_length=32768, micro_batch=1, tensor=4)
    chunked = rank_memory(SMALL, sequence_length=32768, micro_batch=1, tensor=4, loss_chunk_tokens=4096)
    assert whole.logits == 8 * chunked.logits
    assert rank_memory(SMALL, sequence_length=1024, micro_batch=1, loss_chunk_tokens=4096).logits == (
        rank_memory(SMALL, sequence_length=1024, micro_batch=1).logits
    )


@given(
    st.integers(1, 8), st.sampled_from([1, 2, 4]), st.sampled_from([1, 2, 4]), st.sampled_from([512, 4096]), st.data()
)
def test_recomputing_more_keeps_less(micro: int, tensor: int, pipeline: int, length: int, data: st.DataObject) -> None:
    stage = data.draw(st.integers(0, pipeline - 1))
    kinds: tuple[Recompute, ...] = ("none", "selective", "full")
    kept = [
        rank_memory(
            FOUR,
            sequence_length=length,
            micro_batch=micro,
            accumulation=8,
            tensor=tensor,
            pipeline=pipeline,
            stage=stage,
            recompute=kind,
        ).activations
        for kind in kinds
    ]
    assert kept[0] > kept[1] > kept[2]


def test_earlier_stages_hold_more_micro_batches() -> None:
    held = [
        rank_memory(FOUR, sequence_length=4096, micro_batch=1, accumulation=8, pipeline=4, stage=stage)
        for stage in range(4)
    ]
    layers = held[2].activations // 2  # of a stage; the last has the model's norm besides
    assert [one.activations - (one is held[3]) * 4 * 4096 * 2560 for one in held] == [
        4 * layers,
        3 * layers,
        2 * layers,
        layers,
    ]
    assert [bool(one.logits) for one in held] == [False, False, False, True]
    alone = rank_memory(FOUR, sequence_length=4096, micro_batch=1, accumulation=1, pipeline=4, stage=0)
    assert alone.activations == layers


def test_context_ranks_split_tokens_and_the_optimizer() -> None:
    one = rank_memory(FOUR, sequence_length=8192, micro_batch=1, data=2)
    two = rank_memory(FOUR, sequence_length=8192, micro_batch=1, data=1, context=2)
    assert two.activations * 2 == one.activations and two.logits * 2 == one.logits
    assert two.optimizer == one.optimizer
