"""Which layouts of a phase fit into a cluster's memory, what each would reach, and which one to take."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

from launch.estimate.arithmetic import Layout, Network
from launch.estimate.communication import Machine
from launch.estimate.document_length import DocumentLength
from launch.estimate.step_time import Breakdown, Rates, breakdown, count
from recipes.cluster import Cluster, batch_on
from recipes.errors import UserError
from recipes.memory import Memory, rank_memory
from recipes.schema import Phase, Recipe, Recompute
from recipes.shape import Qwen3Shape

# What the search tries.
MODEL_PARALLEL = (1, 2, 4, 8)  # of each kind
MODEL_PARALLEL_LIMIT = 16  # of all kinds together
MICRO_BATCHES = (1, 2, 4, 8)
BATCH_FACTORS = (1, 2, 4, 8)  # times the recipe's global batch
RECOMPUTE: tuple[Recompute, ...] = ("none", "selective", "full")
LOSS_CHUNK = 1024  # tokens

CLOSE = 0.9  # of the fastest: how slow the recommended layout may be, so as to change the optimisation less


@dataclass(frozen=True)
class Candidate:
    """A layout and what it would reach."""

    layout: Layout
    memory: Memory
    seconds: Breakdown
    mfu: float  # Qwen3Shape.flops_per_token against the peak
    fits: bool
    changes: list[str]  # of the optimisation, against the recipe

    @property
    def tokens_per_second(self) -> float:
        """Of all GPUs together."""
        return self.layout.tokens_per_gpu * self.layout.gpus / self.seconds.total


@dataclass(frozen=True)
class Task:
    """What is estimated: a phase of a recipe on a cluster, with rates of a trainer."""

    recipe: Recipe
    phase: Phase
    cluster: Cluster
    machine: Machine
    rates: Rates
    documents: DocumentLength | None = None  # of a phase that masks them

    @property
    def shape(self) -> Qwen3Shape:
        """Of the recipe's model."""
        return self.recipe.model.shape


def machine_of(cluster: Cluster) -> Machine:
    """The hardware figures of a cluster file.

    Raises:
        UserError: one is missing.
    """
    gpu = cluster.accelerator
    figures = {
        "accelerator": gpu,
        "accelerator.memory_gb_per_second": gpu and gpu.memory_gb_per_second,
        "accelerator.nvlink_gb_per_second": gpu and gpu.nvlink_gb_per_second,
        "network_gbps_per_node": cluster.network_gbps_per_node,
    }
    for name, value in figures.items():
        if value is None:
            raise UserError(
                f"cluster {cluster.name}: an estimate needs `{name}`; recipes/clusters/template.yaml explains it."
            )
    assert gpu and gpu.memory_gb_per_second and gpu.nvlink_gb_per_second and cluster.network_gbps_per_node
    return Machine.of(
        cluster.gpus_per_node,
        gpu.peak_bf16_tflops,
        gpu.memory_gb_per_second,
        gpu.nvlink_gb_per_second,
        cluster.network_gbps_per_node,
    )


def stated_layout(task: Task) -> Layout:
    """The phase as the recipe has it.

    Raises:
        UserError: its batch does not divide over the cluster's GPUs, or it is not bf16-mixed.
    """
    recipe, phase = task.recipe, task.phase
    if recipe.precision != "bf16-mixed":
        raise UserError(
            f"recipe {recipe.name}: estimates are for precision bf16-mixed, this one has {recipe.precision}; to see it "
            f"in the other: --set precision=bf16-mixed."
        )
    try:
        batch = batch_on(phase, task.cluster)
    except ValueError as error:
        raise UserError(f"recipe {recipe.name}: {error}.") from error
    return Layout(
        gpus=batch.world_size,
        sequence_length=phase.sequence_length,
        micro_batch=batch.micro_batch_size,
        accumulation=batch.accumulation,
        tensor=batch.tensor_parallel,
        pipeline=batch.pipeline_parallel,
        context=batch.context_parallel,
        reduce_bytes=4 if recipe.gradient_reduction == "fp32" else 2,
        recompute=phase.recompute,
        loss_chunk_tokens=phase.loss_chunk_tokens,
        document_length=task.documents.tokens if task.documents else None,
    )


def assess(task: Task, layout: Layout) -> Candidate:
    """Time, memory and changes of one layout."""
    seconds = breakdown(count(Network.of(task.shape), layout, task.machine), task.rates)
    flops = task.shape.flops_per_token(layout.attention_length) * layout.tokens_per_gpu
    needed = memory(task.shape, layout)
    return Candidate(
        layout=layout,
        memory=needed,
        seconds=seconds,
        mfu=flops / seconds.total / task.machine.peak_flops,
        fits=_fits(task, needed),
        changes=_changes(task, layout),
    )


def memory(shape: Qwen3Shape, layout: Layout) -> Memory:
    """Of the pipeline stage that needs most."""
    stages = (
        rank_memory(
            shape,
            sequence_length=layout.sequence_length,
            micro_batch=layout.micro_batch,
            accumulation=layout.accumulation,
            data=layout.data,
            tensor=layout.tensor,
            pipeline=layout.pipeline,
            context=layout.context,
            stage=stage,
            recompute=layout.recompute,
            loss_chunk_tokens=layout.loss_chunk_tokens,
            gradient_bytes=layout.reduce_bytes,
        )
        for stage in {0, layout.pipeline - 1}
    )
    return max(stages, key=lambda memory: memory.total)


def alternatives(task: Task, stated: Layout) -> list[Candidate]:
    """The fastest layout that fits, for each global batch and precision of the gradient reduction; fastest last."""
    best: dict[tuple[int, int], Candidate] = {}
    for layout in _layouts(task, stated):
        if _fits(task, memory(task.shape, layout)):  # before it is assessed: most do not
            candidate, key = assess(task, layout), (layout.global_batch, layout.reduce_bytes)
            if key not in best or candidate.seconds.total < best[key].seconds.total:
                best[key] = candidate
    return sorted(best.values(), key=lambda candidate: candidate.tokens_per_second)


def recommended(candidates: list[Candidate]) -> Candidate | None:
    """Of those within 10 % of the fastest, the one that changes the optimisation least: first fp32 reduction, then the
    smallest batch. None if nothing fits.
    """
    if not candidates:
        return None
    fastest = max(candidate.tokens_per_second for candidate in candidates)
    close = [candidate for candidate in candidates if candidate.tokens_per_second >= CLOSE * fastest]
    return min(close, key=lambda candidate: (-candidate.layout.reduce_bytes, candidate.layout.global_batch))


def _layouts(task: Task, stated: Layout) -> Iterator[Layout]:
    """Everything the search tries that divides."""
    shape, contexts = task.shape, (1,) if task.phase.document_masking else MODEL_PARALLEL
    reductions = sorted({stated.reduce_bytes, 4, 2}, reverse=True)
    for tensor, pipeline, context in itertools.product(MODEL_PARALLEL, MODEL_PARALLEL, contexts):
        split = tensor * pipeline * context
        if (
            tensor > task.cluster.gpus_per_node
            or shape.num_key_value_heads % tensor
            or shape.num_hidden_layers % pipeline
        ):
            continue
        if split > MODEL_PARALLEL_LIMIT or stated.gpus % split or stated.sequence_length % (2 * context):
            continue
        base = replace(stated, tensor=tensor, pipeline=pipeline, context=context)
        for micro, factor in itertools.product(MICRO_BATCHES, BATCH_FACTORS):
            per_forward = micro * base.data
            if (stated.global_batch * factor) % per_forward:
                continue
            sized = replace(base, micro_batch=micro, accumulation=stated.global_batch * factor // per_forward)
            for reduction, recompute, chunk in itertools.product(reductions, RECOMPUTE, (None, LOSS_CHUNK)):
                yield replace(sized, reduce_bytes=reduction, recompute=recompute, loss_chunk_tokens=chunk)


def _fits(task: Task, needed: Memory) -> bool:
    assert task.cluster.accelerator
    return needed.total <= task.cluster.accelerator.memory_gb * 1e9


def _changes(task: Task, layout: Layout) -> list[str]:
    """What a layout changes in the optimisation: nothing that merely spreads the same sums over GPUs is named."""
    changes = []
    if layout.global_batch != task.phase.global_batch_size:
        changes.append(f"global batch {layout.global_batch} instead of {task.phase.global_batch_size}")
    ours = "fp32" if layout.reduce_bytes == 4 else "bf16"
    if ours != task.recipe.gradient_reduction:
        changes.append(f"gradients summed in {ours} instead of {task.recipe.gradient_reduction}")
    return changes
