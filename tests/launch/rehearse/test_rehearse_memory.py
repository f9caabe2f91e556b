"""What a built rank needs: counted parts as they were counted, the others by arithmetic; and what would make it fit."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launch.rehearse.memory import HOST_RESERVE, change_that_fits, memory_limit, needed
from recipes.cluster import Cluster, batch_identity
from recipes.load import load_cluster, load_recipe
from recipes.memory import COMMUNICATOR, RESERVE, Memory, rank_parameters
from recipes.rehearsal import BuiltRank
from recipes.schema import Phase, Recipe

RECIPE, MN5 = load_recipe("qwen3_1p7b"), load_cluster("mn5")


def built(recipe: Recipe, phase: Phase, cluster: Cluster = MN5, stage: int = 0) -> BuiltRank:
    """As Megatron-Core would build the rank, without padding."""
    shape, split = recipe.model.shape, (phase.tensor_parallel, phase.pipeline_parallel)
    parameters = rank_parameters(shape, *split, stage=stage)
    return BuiltRank(
        rank=0,
        tensor=0,
        context=0,
        stage=stage,
        replicas=[0],
        parameters=parameters,
        norms=0,
        tied_copy=0,
        weight_bytes=2 * parameters,
        gradient_bytes=4 * parameters,
        shard_elements=parameters * split[0] * split[1] // cluster.world_size,
    )


def needs(phase: Phase, recipe: Recipe = RECIPE, cluster: Cluster = MN5) -> Memory:
    return needed(recipe, phase, cluster, batch_identity(phase, cluster.world_size), built(recipe, phase, cluster))


def changed(number: int, **fields: Any) -> Phase:
    return RECIPE.phase(number).model_copy(update=fields)


def test_parts_by_hand() -> None:
    memory, shape = needs(RECIPE.phase(4)), RECIPE.model.shape
    parameters = rank_parameters(shape, 4)
    assert (memory.weights, memory.gradients) == (2 * parameters, 4 * parameters)
    assert memory.optimizer == 12 * (parameters * 4 // 400)
    assert memory.logits == 10 * 4096 * 151936 // 4
    assert memory.communication == 3 * COMMUNICATOR  # data parallel, tensor parallel, all
    assert memory.reserve == RESERVE
    assert memory.total == sum(vars(memory).values()) < memory_limit(MN5) == 64_000_000_000


def test_fp32_has_no_master_weights() -> None:
    whole = RECIPE.model_copy(update={"precision": "32"})
    mixed, fp32 = needs(RECIPE.phase(1)), needs(RECIPE.phase(1), whole)
    assert fp32.optimizer == mixed.optimizer * 8 // 12
    assert fp32.activations > mixed.activations


def test_without_gpus_ranks_share_the_memory_of_their_node() -> None:
    tiny, local = load_recipe("qwen3_tiny"), load_cluster("local")
    assert memory_limit(local) == 3_000_000_000
    memory = needs(tiny.phase(1), tiny, local)
    assert (memory.reserve, memory.communication) == (HOST_RESERVE, 0)
    assert memory.total < memory_limit(local)


@pytest.mark.parametrize(
    ("phase", "change"),
    [
        (changed(4, loss_chunk_tokens=None, tensor_parallel=2), {"loss_chunk_tokens": 1024}),
        (changed(4, tensor_parallel=1), {"recompute": "selective"}),
        (changed(4, tensor_parallel=1, loss_chunk_tokens=None), {"loss_chunk_tokens": 1024, "recompute": "selective"}),
        (changed(4, tensor_parallel=1, micro_batch_size=4), {"recompute": "full"}),
        (changed(4, tensor_parallel=1, micro_batch_size=32), {"recompute": "full", "micro_batch_size": 1}),
    ],
)
def test_the_cheapest_change_that_fits(phase: Phase, change: dict[str, Any]) -> None:
    phase = phase.model_copy(update={"global_batch_size": 400 * phase.micro_batch_size})
    batch, rank = batch_identity(phase, 400), built(RECIPE, phase)
    assert change_that_fits(RECIPE, phase, MN5, batch, rank) == change


@given(st.integers(1, 16), st.integers(1, 4), st.sampled_from([8, 16, 24, 40, 64]), st.sampled_from([None, 512]))
def test_a_change_makes_it_fit_and_keeps_the_batch(micro: int, factor: int, gigabytes: int, chunk: int | None) -> None:
    assert MN5.accelerator
    gpu = MN5.accelerator.model_copy(update={"memory_gb": gigabytes})
    cluster = MN5.model_copy(update={"accelerator": gpu})
    phase = changed(1, micro_batch_size=micro, global_batch_size=400 * micro * factor, loss_chunk_tokens=chunk)
    batch, rank = batch_identity(phase, 400), built(RECIPE, phase)
    change = change_that_fits(RECIPE, phase, cluster, batch, rank)
    if change is None:
        smallest = changed(1, micro_batch_size=1, global_batch_size=400, loss_chunk_tokens=512, recompute="full")
        least = needed(RECIPE, smallest, cluster, batch_identity(smallest, 400), rank)
        assert least.total > memory_limit(cluster) - 2_000_000_000  # the chunk that is proposed is 1024
        return
    other = phase.model_copy(update=change)
    assert batch_identity(other, 400).global_batch_size == batch.global_batch_size
    assert needed(RECIPE, other, cluster, batch_identity(other, 400), rank).total <= memory_limit(cluster)
