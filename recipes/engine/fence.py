"""Stops a training that was started again elsewhere."""

from typing import Any

import lightning.pytorch as pl

from recipes.attempts import Attempt


class Fence(pl.Callback):
    """Looks after every logged step, before anything is noted, whether this is still the newest start of the run.

    A checkpoint looks once more before it is published (`recipes.engine.checkpoint`).

    Raises:
        UserError: on rank 0: it is not.
    """

    def __init__(self, attempt: Attempt, every: int) -> None:
        self.attempt, self.every = attempt, every

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        if trainer.is_global_zero and trainer.global_step % self.every == 0:
            self.attempt.check()
