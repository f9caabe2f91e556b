"""Bytes per rank: parameters against the model's own count, parts against arithmetic by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recipes.load import load_recipe
from recipes.memory import RESERVE, rank_memory, rank_parameters
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
    assert memory.activations == 2 * 4096 * 36 * per_token
    assert memory.logits == 10 * 4096 * 151936
    assert memory.total == sum((memory.weights, memory.gradients, memory.optimizer, memory.activations)) + (
        memory.logits + RESERVE
    )


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
    assert [one.activations // held[3].activations for one in held] == [4, 3, 2, 1]
    assert [bool(one.logits) for one in held] == [False, False, False, True]
    alone = rank_memory(FOUR, sequence_length=4096, micro_batch=1, accumulation=1, pipeline=4, stage=0)
    assert alone.activations == held[3].activations


def test_context_ranks_split_tokens_and_the_optimizer() -> None:
    one = rank_memory(FOUR, sequence_length=8192, micro_batch=1, data=2)
    two = rank_memory(FOUR, sequence_length=8192, micro_batch=1, data=1, context=2)
    assert two.activations * 2 == one.activations and two.logits * 2 == one.logits
    assert two.optimizer == one.optimizer
