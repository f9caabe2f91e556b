"""Bytes on one rank, by part: what was built is counted, what exists only while a step runs is computed."""

from dataclasses import replace
from typing import Any

from recipes.cluster import BatchIdentity, Cluster
from recipes.memory import Memory, optimizer_bytes, rank_memory
from recipes.rehearsal import BuiltRank
from recipes.schema import Phase, Recipe

HOST_RESERVE = 1_500_000_000  # without GPUs: Python with NeMo imported, about 1.2 GB, and what glibc keeps

CHANGES: list[dict[str, Any]] = [  # that make room and keep the optimisation as it is, what costs least time first
    {"loss_chunk_tokens": 1024},
    {"recompute": "selective"},
    {"loss_chunk_tokens": 1024, "recompute": "selective"},
    {"loss_chunk_tokens": 1024, "recompute": "full"},
    {"loss_chunk_tokens": 1024, "recompute": "full", "micro_batch_size": 1},
]


def memory_limit(cluster: Cluster) -> int:
    """Bytes that one rank has: of its GPU, or its part of the node."""
    if cluster.accelerator:
        return int(cluster.accelerator.memory_gb * 1e9)
    return int(cluster.memory_per_node_gb * 1e9) // cluster.ranks_per_node


def needed(recipe: Recipe, phase: Phase, cluster: Cluster, batch: BatchIdentity, built: BuiltRank) -> Memory:
    """What `built` takes at the moment when most is needed."""
    computed = rank_memory(
        recipe.model.shape,
        sequence_length=phase.sequence_length,
        micro_batch=batch.micro_batch_size,
        accumulation=batch.accumulation,
        data=batch.data_parallel,
        tensor=batch.tensor_parallel,
        pipeline=batch.pipeline_parallel,
        context=batch.context_parallel,
        stage=built.stage,
        recompute=phase.recompute,
        loss_chunk_tokens=phase.loss_chunk_tokens,
        precision=recipe.precision,
        modules="transformer_engine" if cluster.gpus_per_node else "plain",
    )
    counted = replace(
        computed,
        weights=built.weight_bytes,
        gradients=built.gradient_bytes,
        optimizer=optimizer_bytes(recipe.precision) * built.shard_elements,
    )
    return counted if cluster.gpus_per_node else replace(counted, communication=0, reserve=HOST_RESERVE)


def change_that_fits(
    recipe: Recipe, phase: Phase, cluster: Cluster, batch: BatchIdentity, built: BuiltRank
) -> dict[str, Any] | None:
    """Fields of `phase`, the first of `CHANGES`, with which `built` has enough; None if none of them saves so much."""
    for change in CHANGES:
        new = {name: value for name, value in change.items() if getattr(phase, name) != value}
        if phase.loss_chunk_tokens:
            new.pop("loss_chunk_tokens", None)
        micro = new.get("micro_batch_size", batch.micro_batch_size)
        accumulation = batch.accumulation * batch.micro_batch_size // micro
        smaller = batch.model_copy(update={"micro_batch_size": micro, "accumulation": accumulation})
        needs = needed(recipe, phase.model_copy(update=new), cluster, smaller, built)
        if needs.total <= memory_limit(cluster):
            return new
    return None
