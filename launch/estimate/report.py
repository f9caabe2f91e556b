"""The whole answer for one phase on one cluster: as the recipe states it, other layouts, advice."""

from dataclasses import asdict, dataclass
from typing import Any

from launch.estimate.advice import (
    Division,
    Saving,
    dividing_nodes,
    divisions,
    down_at_once,
    expected_failures,
    saving,
    spare_nodes,
)
from launch.estimate.calibration import Calibration, Errors
from launch.estimate.document_length import DocumentLength
from launch.estimate.layouts import Candidate, Task, alternatives, assess, machine_of, recommended, stated_layout
from recipes.cluster import Cluster
from recipes.schema import Recipe

LOST_NODES = 4  # batches are listed for so many nodes fewer


@dataclass(frozen=True)
class Cost:
    """What the phase takes with one layout."""

    iterations: int
    hours: float  # of training; with failures in mind where the cluster file says how often they come
    node_hours: float


@dataclass(frozen=True)
class Spares:
    """Nodes to hold in reserve."""

    expected_failures: float  # over the run
    nodes: int
    risk: float  # that more nodes than these are down at once
    risk_without: float


@dataclass(frozen=True)
class Estimate:
    """Everything that `cpt estimate` prints."""

    task: Task
    stated: Candidate
    candidates: list[Candidate]
    chosen: Candidate | None
    saving: Saving | None
    spares: Spares | None
    divisions: list[Division]
    dividing_nodes: list[int]
    errors: Errors  # of all published rows, each predicted by a fit without it
    our_errors: Errors  # of those of our trainer

    def cost(self, candidate: Candidate) -> Cost:
        """Iterations, hours and node hours of the phase."""
        phase, cluster = self.task.phase, self.task.cluster
        tokens = candidate.layout.global_batch * phase.sequence_length
        iterations = phase.token_budget // tokens
        useful = iterations * tokens / candidate.tokens_per_second / 3600
        hours = useful / (1 - min(self.saving.lost, 0.99)) if self.saving else useful
        return Cost(iterations, hours, hours * cluster.nodes)


def estimate(
    recipe: Recipe,
    number: int,
    cluster: Cluster,
    calibration: Calibration,
    documents: DocumentLength | None = None,
) -> Estimate:
    """Estimate phase `number` (from 1) of a recipe, whose documents are masked if anything is said of them.

    Raises:
        UserError: the cluster file lacks a figure, or the recipe's batch does not divide over its GPUs.
    """
    phase = recipe.phase(number)
    task = Task(recipe, phase, cluster, machine_of(cluster), calibration.ours, documents)
    layout = stated_layout(task)
    stated = assess(task, layout)
    candidates = alternatives(task, layout)
    chosen = recommended(candidates)
    split = layout.tensor * layout.pipeline * layout.context
    batch = (cluster.gpus_per_node, split, phase.micro_batch_size, phase.global_batch_size)
    saves = _saving(task)
    return Estimate(
        task=task,
        stated=stated,
        candidates=candidates,
        chosen=chosen,
        saving=saves,
        spares=_spares(task, chosen or stated, saves),
        divisions=divisions(cluster.nodes, *batch, fewest=max(1, cluster.nodes - LOST_NODES)),
        dividing_nodes=dividing_nodes(cluster.nodes, *batch),
        errors=Errors.of(calibration.left_out_errors),
        our_errors=Errors.of(calibration.our_left_out_errors),
    )


def _saving(task: Task) -> Saving | None:
    cluster = task.cluster
    if not cluster.reliability or not cluster.filesystem_gb_per_second:
        return None
    return saving(
        task.shape.parameters,
        cluster.filesystem_gb_per_second * 1e9,
        cluster.nodes,
        cluster.reliability.node_hours_between_failures,
        cluster.reliability.restart_minutes,
    )


def _spares(task: Task, candidate: Candidate, saves: Saving | None) -> Spares | None:
    cluster = task.cluster
    if not cluster.reliability or not saves:
        return None
    between, repair = cluster.reliability.node_hours_between_failures, cluster.reliability.repair_hours
    hours = task.phase.token_budget / candidate.tokens_per_second / 3600
    spares = spare_nodes(cluster.nodes, between, repair)
    return Spares(
        expected_failures(cluster.nodes, hours, between),
        spares,
        down_at_once(cluster.nodes, spares, between, repair),
        down_at_once(cluster.nodes, 0, between, repair),
    )


def as_json(answer: Estimate) -> dict[str, Any]:
    """The estimate as plain values: seconds, bytes, tokens per second of the whole job, fractions."""

    def candidate(one: Candidate) -> dict[str, Any]:
        return {
            "layout": asdict(one.layout) | {"data": one.layout.data, "global_batch": one.layout.global_batch},
            "seconds": asdict(one.seconds) | {"total": one.seconds.total},
            "memory_bytes": asdict(one.memory) | {"total": one.memory.total},
            "fits": one.fits,
            "tokens_per_second": one.tokens_per_second,
            "mfu": one.mfu,
            "changes": one.changes,
            **asdict(answer.cost(one)),
        }

    task = answer.task
    return {
        "recipe": task.recipe.name,
        "phase": task.phase.name,
        "cluster": task.cluster.name,
        "documents": asdict(task.documents) if task.documents else None,
        "flops_per_token": task.shape.flops_per_token(answer.stated.layout.attention_length),
        "peak_flops_per_gpu": task.machine.peak_flops,
        "stated": candidate(answer.stated),
        "layouts": [candidate(one) for one in answer.candidates],
        "recommended": candidate(answer.chosen) if answer.chosen else None,
        "saving": asdict(answer.saving) if answer.saving else None,
        "spares": asdict(answer.spares) if answer.spares else None,
        "divisions": [asdict(division) for division in answer.divisions],
        "dividing_nodes": answer.dividing_nodes,
        "left_out_errors": asdict(answer.errors),
        "our_left_out_errors": asdict(answer.our_errors),
    }
