"""Looks at every batch before the optimizer uses it: NaN, infinity and spikes are named, and skipped or stopped at."""

import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import lightning.pytorch as pl
import torch
import torch.distributed as dist
from torch import Tensor

from recipes.engine.findings import Culprit, culprits, findings, in_words
from recipes.engine.sample_ids import deal_of
from recipes.errors import UserError
from recipes.loss_history import Iteration, Kind, LossHistory
from recipes.schema import Faults

_HEAD_START = 120.0  # seconds for rank 0 to end with its reason; the end of any rank makes the launcher end all


class BatchGuard(pl.Callback):
    """Between a batch's gradients and the optimizer's step all ranks agree on whether the step is done.

    A step that is left out changes neither weights nor moments nor Adam's count of steps; the iteration counts, so data
    and learning rates go on as planned. The history that spikes are measured by is part of every checkpoint.

    What it costs: an all-reduce of two numbers per step, where Megatron-Core has just waited for the gradients' norm;
    and the norm of each rank's own gradients, which `check_for_nan_in_grad` of NeMo's recipe computes too, and waits
    for, as this does not.

    Attributes:
        outcome: what to note of the last iteration: {"skipped": "nan" | "spike", "samples": […]},
            {"noted": "spike", "samples": […]}, or nothing.

    Raises:
        UserError: the recipe says stop, or would have more batches skipped than it allows.
    """

    def __init__(self, faults: Faults, say: Callable[[str], None]) -> None:
        self.faults, self.say = faults, say
        self.history = LossHistory(faults)
        self.outcome: dict[str, Any] = {}
        self._loss: Tensor | None = None
        self._outputs: Sequence[dict[str, Tensor]] = ()
        self._norms: list[Tensor] = []  # of this rank's own gradients

    def state_dict(self) -> dict[str, Any]:
        return {"iterations": [list(one) for one in self.history.iterations]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.history = LossHistory(self.faults, [Iteration(*one) for one in state_dict["iterations"]])

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        decide_updates(trainer.strategy.optimizers[0].mcore_optimizer, partial(self._decide, trainer))
        for chunk in trainer.strategy.megatron_parallel:
            for group in chunk.bucket_groups + chunk.expert_parallel_bucket_groups:
                # megatron/core/distributed/param_and_grad_buffer.py, start_grad_sync: just before the sum over replicas
                group.check_grads = partial(self._note_gradients, group)

    def on_train_batch_start(self, *args: Any) -> None:
        self.outcome = {}
        self._norms.clear()

    def on_megatron_step_end(self, step: Any, microbatch_outputs: Any, reduced: Tensor) -> None:
        if not step.forward_only:
            self._outputs, self._loss = microbatch_outputs, reduced if microbatch_outputs else None

    def _note_gradients(self, group: Any, **checks: bool) -> None:
        self._norms += [bucket.grad_data.norm() for bucket in group.buckets]

    def _decide(self, trainer: pl.Trainer, gradient_norm: float) -> bool:
        """Whether the optimizer may use this batch; the same on every rank."""
        loss, finite = agreed(None if self._loss is None else float(self._loss), gradient_norm)
        kind = self.history.fault(loss, finite)
        if kind is None:
            self.history.add(loss, skipped=False)
            return True
        data: Any = trainer.datamodule
        threshold, iteration, deal = self.history.threshold(), trainer.global_step + 1, deal_of(data)
        chosen = culprits(kind, self._findings(), threshold, deal.micro_batches)
        what = f"the loss is {loss:.4f}, above {threshold:.4f}," if kind == "spike" else _not_finite(chosen)
        sentence = f"iteration {iteration}: {what} {in_words(chosen, data, deal, iteration)}"
        skip = self._may_skip(kind, trainer, sentence)
        self.history.add(loss, skipped=skip)
        samples = {sample for one in chosen for sample in one.samples(deal, iteration)}
        self.outcome = {"skipped" if skip else "noted": kind, "samples": sorted(samples)}
        if trainer.is_global_zero:
            self.say(f"{sentence}: {'skipped' if skip else 'trained all the same'}.")
        return not skip

    def _findings(self) -> list[Any]:
        sums = [output["loss_sum_and_ub_size"].tolist() for output in self._outputs]
        return findings(
            [total / max(tokens, 1) for total, tokens in sums], all(math.isfinite(norm) for norm in self._norms)
        )

    def _may_skip(self, kind: Kind, trainer: pl.Trainer, sentence: str) -> bool:
        field = "nonfinite" if kind == "nan" else "spike"
        policy = getattr(self.faults, field)
        if policy == "stop":
            reason = f"stopped before it changed anything; to leave it out, start again with --set faults.{field}=skip"
        elif policy == "skip" and not self.history.may_skip():
            reason = (
                f"stopped, because {self.faults.max_skipped} of the last {self.faults.window} batches were skipped "
                f"already; look for the cause, or raise faults.max_skipped"
            )
        else:
            return bool(policy == "skip")
        if not trainer.is_global_zero:
            time.sleep(_HEAD_START)
        raise UserError(f"{sentence}: {reason}.")


def decide_updates(optimizer: Any, decide: Callable[[float], bool]) -> None:
    """Let `decide`, which is given the norm of all gradients, say whether a step of a Megatron optimizer is done.

    In `ChainedOptimizer.step` (megatron/core/optimizer/optimizer.py) the norm is measured between the sum of the
    gradients and `step_with_ready_grads`, which changes everything that a step changes.
    """
    measure, update = optimizer.get_grad_norm, optimizer.step_with_ready_grads
    measured: list[float] = []

    def get_grad_norm() -> float:
        measured[:] = [measure()]
        return measured[0]

    def step_with_ready_grads() -> bool:
        return decide(measured[0]) and update()

    optimizer.get_grad_norm, optimizer.step_with_ready_grads = get_grad_norm, step_with_ready_grads


def agreed(loss: float | None, gradient_norm: float) -> tuple[float, bool]:
    """One loss for all ranks, the highest that any has, and whether every loss and norm is finite; a collective call.

    Only the last pipeline stage has a loss. What is decided by is the same to the last bit everywhere: ranks that
    decide differently would wait for each other for ever.
    """
    finite = math.isfinite(gradient_norm) and (loss is None or math.isfinite(loss))
    known = loss if loss is not None and math.isfinite(loss) else -math.inf
    both = torch.tensor([known, float(not finite)], dtype=torch.float64, device=torch.cuda.current_device())
    dist.all_reduce(both, op=dist.ReduceOp.MAX)
    highest, wrong = both.tolist()
    return (math.nan, False) if wrong else (highest, True)


def _not_finite(chosen: Sequence[Culprit]) -> str:
    of_loss = any(not math.isfinite(loss) for one in chosen for loss in one.finding.losses)
    return f"the {'loss' if of_loss else 'gradient'} is NaN or infinite"
