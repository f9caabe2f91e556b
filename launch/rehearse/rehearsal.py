"""The rehearsal of a recipe's phases on a cluster: rules, ranks, memory, data order, and what is wrong with them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from launch.rehearse.memory import change_that_fits, memory_limit, needed
from launch.rehearse.process import build
from launch.rehearse.rules import broken_rules
from recipes.activations import padded_vocabulary
from recipes.cluster import BatchIdentity, Cluster, batch_on
from recipes.memory import Memory
from recipes.rehearsal import BuiltPhase, BuiltRank, Request, Walk
from recipes.schema import Recipe
from recipes.shape import Qwen3Shape


@dataclass(frozen=True)
class RehearsedPhase:
    """A phase whose layout divides."""

    number: int
    name: str
    batch: BatchIdentity
    distinct_ranks: int  # of one replica
    fullest: BuiltRank
    memory: Memory  # of the fullest
    limit: int  # bytes
    parameters: int  # of the shards of one replica together
    walk: Walk


@dataclass(frozen=True)
class Rehearsal:
    """What `cpt rehearse` prints."""

    recipe: Recipe
    cluster: Cluster
    phases: list[RehearsedPhase]
    problems: list[str]  # each begins with its phase


def rehearse(recipe: Recipe, cluster: Cluster, numbers: Sequence[int]) -> Rehearsal:
    """Rehearse phases (numbers from 1); those that break a rule are not built.

    Raises:
        UserError: a phase asks for what cannot be.
    """
    broken = {number: broken_rules(recipe.phase(number), recipe.model.shape, cluster) for number in numbers}
    whole = [number for number in numbers if not broken[number]]
    built = build(Request(recipe=recipe, cluster=cluster, phases=whole))
    phases = [_rehearsed(recipe, cluster, phase) for phase in built]
    found = {phase.number: _problems(recipe, cluster, phase) for phase in phases} | {
        number: rules for number, rules in broken.items() if rules
    }
    problems = [
        f"phase {recipe.phase(number).name}: {problem}." for number in sorted(found) for problem in found[number]
    ]
    return Rehearsal(recipe, cluster, phases, problems)


def as_json(answer: Rehearsal) -> dict[str, Any]:
    """The rehearsal as plain values; memory in bytes."""
    return {
        "recipe": answer.recipe.name,
        "cluster": answer.cluster.name,
        "phases": [
            {
                "number": phase.number,
                "name": phase.name,
                "batch": phase.batch.model_dump(),
                "distinct_ranks": phase.distinct_ranks,
                "parameters": phase.parameters,
                "fullest_rank": phase.fullest.model_dump(exclude={"replicas"}),
                "memory_bytes": asdict(phase.memory) | {"total": phase.memory.total},
                "memory_limit_bytes": phase.limit,
                "data_order": phase.walk.model_dump(exclude={"problems"}),
            }
            for phase in answer.phases
        ],
        "problems": answer.problems,
    }


def _rehearsed(recipe: Recipe, cluster: Cluster, built: BuiltPhase) -> RehearsedPhase:
    phase = recipe.phase(built.number)
    batch = batch_on(phase, cluster)
    memories = {rank.rank: needed(recipe, phase, cluster, batch, rank) for rank in built.ranks}
    fullest = max(built.ranks, key=lambda rank: memories[rank.rank].total)
    _check_world(built.ranks, batch)
    return RehearsedPhase(
        number=built.number,
        name=phase.name,
        batch=batch,
        distinct_ranks=len(built.ranks),
        fullest=fullest,
        memory=memories[fullest.rank],
        limit=memory_limit(cluster),
        parameters=_parameters(built.ranks, recipe.model.shape),
        walk=built.walk,
    )


def _check_world(ranks: Sequence[BuiltRank], batch: BatchIdentity) -> None:
    """Every rank of the world is a replica of one that was built, and each of these has as many as the batch says."""
    assert sorted(one for rank in ranks for one in rank.replicas) == list(range(batch.world_size))
    assert {len(rank.replicas) for rank in ranks} == {batch.data_parallel}


def _parameters(ranks: Sequence[BuiltRank], shape: Qwen3Shape) -> int:
    """Parameters of all shards together, each counted once, without the rows that pad the vocabulary."""
    copies = 1 if shape.tie_word_embeddings else 2
    padding = copies * (padded_vocabulary(shape) - shape.vocab_size) * shape.hidden_size
    held = sum(
        rank.parameters - rank.tied_copy - (rank.norms if rank.tensor else 0) for rank in ranks if rank.context == 0
    )
    assert held - padding == shape.parameters, f"{held - padding:,} parameters were built, not {shape.parameters:,}"
    return held - padding


def _problems(recipe: Recipe, cluster: Cluster, phase: RehearsedPhase) -> list[str]:
    problems = list(phase.walk.problems)
    if phase.memory.total > phase.limit:
        stated = recipe.phase(phase.number)
        change = change_that_fits(recipe, stated, cluster, phase.batch, phase.fullest)
        fields = ", ".join(f"{name}: {value}" for name, value in change.items()) if change else "more tensor_parallel"
        problems.append(
            f"rank {phase.fullest.rank} needs {phase.memory.total / 1e9:.1f} GB and has {phase.limit / 1e9:.1f}; it "
            f"would fit with {fields}"
        )
    return problems
