"""Bytes on one rank, by part: what was built is counted, what exists only while a step runs is computed."""

from dataclasses import dataclass
from typing import Any

from recipes.cluster import BatchIdentity, Cluster
from recipes.memory import MASTER, RESERVE, WEIGHT, Memory, rank_memory
from recipes.rehearsal import BuiltRank
from recipes.schema import Phase, Recipe

HOST_RESERVE = 1_500_000_000  # without GPUs: Python with NeMo imported, about 1.2 GB, and what glibc keeps
IDS = 4 * 8  # bytes per token of a batch: tokens, labels, positions, loss mask

CHANGES: list[dict[str, Any]] = [  # that make room and keep the optimisation as it is, what costs least time first
    {"loss_chunk_tokens": 1024},
    {"recompute": "selective"},
    {"loss_chunk_tokens": 1024, "recompute": "selective"},
    {"loss_chunk_tokens": 1024, "recompute": "full"},
    {"loss_chunk_tokens": 1024, "recompute": "full", "micro_batch_size": 1},
]


@dataclass(frozen=True)
class RankMemory(Memory):
    """`Memory`, and what a rank needs besides."""

    buffers: int = 0


def memory_limit(cluster: Cluster) -> int:
    """Bytes that one rank has: of its GPU, or its part of the node."""
    if cluster.accelerator:
        return int(cluster.accelerator.memory_gb * 1e9)
    return int(cluster.memory_per_node_gb * 1e9) // cluster.ranks_per_node


def needed(recipe: Recipe, phase: Phase, cluster: Cluster, batch: BatchIdentity, built: BuiltRank) -> RankMemory:
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
    )
    mixed = recipe.precision == "bf16-mixed"
    wider = 1 if mixed else 2  # in fp32, what is bf16 otherwise takes twice as much, and nothing takes more
    return RankMemory(
        weights=built.weight_bytes,
        gradients=built.gradient_bytes,
        optimizer=(MASTER if mixed else MASTER - 4) * built.shard_elements,  # fp32 weights are their own masters
        activations=wider * computed.activations,
        logits=wider * computed.logits,
        buffers=_buffers(recipe, phase, batch, built, wider * WEIGHT),
        reserve=RESERVE if cluster.accelerator else HOST_RESERVE,
    )


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


def _buffers(recipe: Recipe, phase: Phase, batch: BatchIdentity, built: BuiltRank, width: int) -> int:
    """The batch itself; the angles of rotation, in fp32; the sequence that tensor-parallel ranks gather for a matrix
    product (Megatron-Core's global memory buffer); and the gradient of the largest matrix before it is added up.
    """
    shape = recipe.model.shape
    tokens = batch.micro_batch_size * phase.sequence_length // batch.context_parallel
    gathered = width * tokens * shape.hidden_size if batch.tensor_parallel > 1 else 0
    return IDS * tokens + 4 * phase.sequence_length * shape.head_dim + gathered + width * built.largest
