"""What training says: one line per logged step on rank 0, and one JSON object per line in `training/metrics.jsonl`."""

import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch

from recipes.artifacts import finite
from recipes.engine.batch_guard import BatchGuard
from recipes.engine.metrics_file import append_line, forget_from
from recipes.engine.pace import Pace
from recipes.engine.phase_numbers import PhaseNumbers
from recipes.engine.platform import has_cuda
from recipes.engine.progress_line import formula, sentence

_SECONDS_BETWEEN_LINES = 5.0


class Progress(pl.Callback):
    """Reports loss (mean over the tokens of the global batch), learning rate, gradient norm, speed, memory, time left.

    Args:
        numbers: see PhaseNumbers.
        metrics: the file that lines are appended to. What is in it from iterations that will be done again is removed.
        say: prints a line for people.
        every: iterations between two lines of `metrics`; the first and the last are always written, and those that
            `guard` has something to note of.
        guard: what it notes of an iteration is part of its line.
    """

    def __init__(
        self, numbers: PhaseNumbers, metrics: Path, say: Callable[[str], None], every: int, guard: BatchGuard
    ) -> None:
        self.numbers = numbers
        self.guard = guard
        self.metrics = metrics
        self.say = say
        self.every = every
        self._said = self._memory = 0.0
        self._first = self._reported = 0
        self._pace = Pace(0.0)
        self._learning_rate = float("nan")

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.is_global_zero:
            forget_from(self.metrics, self.numbers.phase, trainer.global_step)
            if self.numbers.accelerator:
                self.say(formula(self.numbers))
        self._first = self._reported = trainer.global_step
        self._pace = Pace(time.perf_counter())

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        step = trainer.global_step
        if step == self._reported:
            return
        if step % self.every == 0 or step in (1, self.numbers.iterations) or self.guard.outcome:
            self._memory = _highest(_peak_memory())  # every rank takes part, at the same steps
            self._report(trainer, step)
            self._reported = step
        if step == self._first + 1:  # it sets things up: the next line and the time left go by the steps after it
            self._pace, self._reported = Pace(time.perf_counter()), step

    def on_save_checkpoint(self, *args: Any) -> None:
        self.pause()

    def pause(self) -> None:
        """What happens from here to the next batch is no training: neither speed nor the pace of steps counts it."""
        self._pace.stop(time.perf_counter())

    def on_train_batch_start(self, *args: Any) -> None:
        self._pace.go_on(time.perf_counter())

    def _report(self, trainer: pl.Trainer, step: int) -> None:
        """Write the line of the interval that ends with `step`. The clock is every rank's, the line is rank 0's."""
        numbers = self.numbers
        steps = step - self._reported
        seconds = self._pace.interval(time.perf_counter(), steps * numbers.flops_per_iteration)
        if not trainer.is_global_zero:
            return
        line = self._line(trainer.callback_metrics, step, steps * numbers.tokens_per_iteration / seconds)
        line |= self._left(step) if step > self._first + 1 else {}
        line |= self.guard.outcome
        append_line(self.metrics, line)
        self._say(line)
        for logger in trainer.loggers:
            logger.log_metrics({key: value for key, value in line.items() if isinstance(value, int | float)}, step=step)

    def _line(self, measured: dict[str, Any], step: int, rate: float) -> dict[str, Any]:
        numbers = self.numbers
        line = {
            "phase": numbers.phase,
            "iteration": step,
            "tokens": step * numbers.tokens_per_iteration,
            "tokens_total": numbers.tokens_before + step * numbers.tokens_per_iteration,
            "loss": finite(float(measured["reduced_train_loss"])),
            "lr": self._learning_rate,
            "grad_norm": finite(float(measured["grad_norm"])) if "grad_norm" in measured else None,
            "tokens_per_second": round(rate, 1),
            "peak_memory_gb": round(self._memory / 1e9, 2),
        }
        if numbers.peak_flops:
            line["mfu"] = round(rate * numbers.flops_per_token / numbers.peak_flops, 4)
            line |= {"flops_per_token": numbers.flops_per_token, "peak_flops": numbers.peak_flops}
        return line

    def _left(self, step: int) -> dict[str, float]:
        """Seconds to the end of the phase, and of the run."""
        numbers = self.numbers
        phase = (numbers.iterations - step) * numbers.flops_per_iteration
        return {
            "seconds_left": round(self._pace.seconds_for(phase), 1),
            "seconds_left_run": round(self._pace.seconds_for(phase + numbers.flops_after), 1),
        }

    def _say(self, line: dict[str, Any]) -> None:
        """Speak at most every few seconds, but always of the first and the last iteration."""
        now = time.perf_counter()
        if now - self._said >= _SECONDS_BETWEEN_LINES or line["iteration"] in (1, self.numbers.iterations):
            self._said = now
            self.say(sentence(self.numbers, line))

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: Any, optimizer: Any) -> None:
        self._learning_rate = float(optimizer.param_groups[0]["lr"])  # the rate of this step, before the schedule moves


def _peak_memory() -> float:
    """Bytes: the most that this process has held on its GPU, or without one, in memory."""
    if has_cuda():
        return float(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0  # Linux counts in KiB


def _highest(mine: float) -> float:
    """The largest of all ranks' numbers; every rank must ask."""
    number = torch.tensor(mine, dtype=torch.float64, device="cuda" if has_cuda() else "cpu")
    torch.distributed.all_reduce(number, torch.distributed.ReduceOp.MAX)
    return number.item()
