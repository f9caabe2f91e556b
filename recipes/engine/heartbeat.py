"""How far this rank is, which its training loop counts, and what it is doing, which its Python stack says."""

import os
import socket
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import lightning.pytorch as pl
from megatron.core import parallel_state

from recipes.engine.beats import READING, WAITING, Beat
from recipes.engine.sample_ids import Deal, deal_of, named
from recipes.schema import Faults

# Part of a file's path, and what a rank does that has it in its stack; the innermost that is known counts.
_STAGES = {
    "/torch/distributed/checkpoint/": "saving or loading a checkpoint",
    "/megatron/core/dist_checkpointing/": "saving or loading a checkpoint",
    "/torch/distributed/": WAITING,
    "/megatron/core/pipeline_parallel/p2p_communication": WAITING,
    "/megatron/core/distributed/param_and_grad_buffer": WAITING,
    "/torch/utils/data/": READING,
    "/torch/autograd/": "in the backward pass",
    "/megatron/core/optimizer/": "in the optimizer's step",
    "/nemo/lightning/megatron_parallel": "in the forward pass",
}


class Heart(pl.Callback):
    """Counts what the training loop has begun and ended; reading it from another thread is a `Beat`.

    The long limit holds until the first step is done, and between two steps, where checkpoints are written, held-out
    text is scored and samples are drawn.
    """

    def __init__(self, faults: Faults) -> None:
        self.short, self.long = 60 * faults.hang_minutes, 60 * faults.slow_stage_minutes
        self.limit = self.long
        self.progress = self.iteration = 0
        self._ticks = 0
        self._read = 0  # micro batches of this iteration whose data is there
        self._steps = 0  # since the start
        self._data: Any = None
        self._deal: Deal | None = None
        self._replica = 0
        self._thread = threading.get_ident()

    def beat(self) -> Beat:
        """Now, as seen from any thread."""
        self._ticks += 1
        stage, place = doing(sys._current_frames()[self._thread])
        stage = stage or ("between two steps" if self._steps else "starting")
        at = self._read if stage == READING else self._read - 1
        samples = (
            self._deal.samples(self.iteration, at, self._replica) if self._deal and self.iteration and at >= 0 else []
        )
        host = socket.gethostname()
        return Beat(self._ticks, self.progress, self.limit, self.iteration, samples, stage, place, host, os.getpid())

    def named(self, samples: list[int]) -> str:
        """Samples of the phase in words."""
        return named(self._data.dataset, self._data.folder, samples)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._data = trainer.datamodule
        self._replica = parallel_state.get_data_parallel_rank()
        self._deal = deal_of(self._data)

    def on_train_batch_start(self, trainer: pl.Trainer, *args: Any) -> None:
        self.iteration, self._read = trainer.global_step + 1, 0
        self._go_on(self.short if self._steps else self.long)

    def on_megatron_microbatch_start(self, step: Any) -> None:
        self._read += not step.forward_only
        self._go_on(self.limit)

    def on_megatron_microbatch_end(self) -> None:
        self._go_on(self.limit)

    def on_train_batch_end(self, *args: Any) -> None:
        self._steps += 1
        self._go_on(self.long)

    def _go_on(self, limit: float) -> None:
        self.limit = limit
        self.progress += 1


def doing(frame: FrameType) -> tuple[str, str]:
    """What a thread is doing, as far as its stack says, and the innermost line of that."""
    code = frame.f_code
    place = f"{Path(code.co_filename).name}:{frame.f_lineno} in {code.co_name}"
    outer: FrameType | None = frame
    while outer:
        for part, stage in _STAGES.items():
            if part in outer.f_code.co_filename:
                return stage, place
        outer = outer.f_back
    return "", place
