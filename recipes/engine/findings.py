"""Whose batch it was: what the ranks know of an iteration that went wrong, put together."""

import math
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch.distributed as dist
from megatron.core import parallel_state

from recipes.engine.sample_ids import Deal, named
from recipes.loss_history import Kind

_MOST_NAMED = 4  # ranks in a sentence


class Finding(NamedTuple):
    """What one rank knows of an iteration."""

    rank: int
    place: str  # host and position
    replica: int
    losses: list[float]  # of its micro batches, nats per token; on the last pipeline stage alone
    finite: bool  # the gradients that it adds to the sum over replicas


class Culprit(NamedTuple):
    """A rank with the micro batches, numbers from 0, that it has to do with it by."""

    finding: Finding
    micro_batches: list[int]

    def samples(self, deal: Deal, iteration: int) -> list[int]:
        replica = self.finding.replica
        return [sample for one in self.micro_batches for sample in deal.samples(iteration, one, replica)]


def place_of_rank() -> str:
    """Host and position of this rank in words."""
    return (
        f"host {socket.gethostname()}, data-parallel {parallel_state.get_data_parallel_rank()}, tensor-parallel "
        f"{parallel_state.get_tensor_model_parallel_rank()}, pipeline "
        f"{parallel_state.get_pipeline_model_parallel_rank()}"
    )


def findings(losses: list[float], finite: bool) -> list[Finding]:
    """Those of all ranks, from this rank's; a collective call."""
    mine = Finding(dist.get_rank(), place_of_rank(), parallel_state.get_data_parallel_rank(), losses, finite)
    found: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(found, mine)
    return found


def culprits(kind: Kind, found: Sequence[Finding], threshold: float | None, micro_batches: int) -> list[Culprit]:
    """The ranks whose own batches explain it.

    NaN: those with a micro batch without a finite loss; where every loss is finite, those whose own gradients are not,
    with all their micro batches. A spike: those with a micro batch above `threshold`, else the one with the highest.
    """
    if kind == "nan":
        of_loss = _with(found, lambda loss: not math.isfinite(loss))
        return of_loss or [Culprit(one, list(range(micro_batches))) for one in found if not one.finite]
    top = max(loss for one in found for loss in one.losses)
    least = min(top, math.inf if threshold is None else threshold)
    return _with(found, lambda loss: loss >= least)


def _with(found: Sequence[Finding], wanted: Any) -> list[Culprit]:
    chosen = [Culprit(one, [at for at, loss in enumerate(one.losses) if wanted(loss)]) for one in found]
    return [one for one in chosen if one.micro_batches]


def in_words(chosen: Sequence[Culprit], data: Any, deal: Deal, iteration: int) -> str:
    """Rank, host, position, and samples with their documents, of every culprit.

    Args:
        data: the phase's `recipes.engine.data_module.PhaseData`.
    """
    if not chosen:
        return "in the sum over all ranks, though in the part of none of them"
    parts = []
    for one in chosen[:_MOST_NAMED]:
        samples = named(data.dataset, Path(data.folder), one.samples(deal, iteration))
        parts.append(f"rank {one.finding.rank} ({one.finding.place}) with {samples}")
    if len(chosen) > _MOST_NAMED:
        parts.append(f"{len(chosen) - _MOST_NAMED} more")
    return f"on {'; '.join(parts)}"
