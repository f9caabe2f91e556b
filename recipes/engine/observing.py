"""When training is looked at from outside: at the very start of the run, every n iterations, at the end of a phase."""

from abc import abstractmethod
from typing import Any

import lightning.pytorch as pl
import torch

from recipes.engine.phase_numbers import PhaseNumbers
from recipes.engine.progress import Progress


class Observer(pl.Callback):
    """Looks once per iteration that is due, over all starts of the run, and after a step before its checkpoint.

    What it notes of an iteration is cut away with the iteration where a restart goes on before it. Where one goes on at
    that very iteration, it is there, or the observer looks now.

    Args:
        every: it looks at the multiples of each of these iterations.
        progress: of the phase; its clock stops while this looks.
    """

    def __init__(self, every: set[int], progress: Progress) -> None:
        self.every, self.progress, self.numbers = every, progress, progress.numbers
        self._seen = -1

    @abstractmethod
    def is_noted(self, step: int) -> bool:
        """Whether what was seen at `step` of this phase is on disk. Asked of rank 0 alone."""

    @abstractmethod
    def observe(self, trainer: pl.Trainer, step: int) -> None:
        """Look at the model after `step` iterations, on all ranks alike, and note it on rank 0."""

    def is_due(self, step: int) -> bool:
        """The start of a later phase is the end of the one before."""
        if step == 0:
            return self.numbers.phase == 1
        return any(step % every == 0 for every in self.every) or step == self.numbers.iterations

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        step = trainer.global_step
        noted = [trainer.is_global_zero and self.is_noted(step)]
        torch.distributed.broadcast_object_list(noted)
        if self.is_due(step) and not noted[0]:
            self._look(trainer, step)

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        if self.is_due(trainer.global_step) and trainer.global_step != self._seen:
            self._look(trainer, trainer.global_step)

    def _look(self, trainer: pl.Trainer, step: int) -> None:
        torch.cuda.synchronize()  # what it still computes is training
        self.progress.pause()
        self.observe(trainer, step)
        self._seen = step


def place(numbers: PhaseNumbers, step: int) -> dict[str, int]:
    """Where in the run it is, as every line of metrics.jsonl says it."""
    tokens = step * numbers.tokens_per_iteration
    return {
        "phase": numbers.phase,
        "iteration": step,
        "tokens": tokens,
        "tokens_total": numbers.tokens_before + tokens,
    }
