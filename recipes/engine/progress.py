"""What training says: one line per logged step on rank 0, and one JSON object per line in `training/metrics.jsonl`."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl

from recipes.artifacts import atomic_file

_SECONDS_BETWEEN_LINES = 5.0


@dataclass(frozen=True)
class PhaseNumbers:
    """The constants of a phase that its progress is measured by."""

    phase: int
    name: str
    iterations: int
    tokens_per_iteration: int
    tokens_before: int  # in earlier phases
    flops_per_token: float
    peak_flops: float | None  # FLOP/s of all ranks together; None where the cluster names no accelerator


class Progress(pl.Callback):
    """Reports loss (mean over the tokens of the global batch), learning rate, gradient norm and tokens per second.

    Args:
        numbers: see PhaseNumbers.
        metrics: the file that lines are appended to. What is in it from iterations that will be done again is removed.
        say: prints a line for people.
        every: iterations between two lines of `metrics`; the first and the last are always written.
    """

    def __init__(self, numbers: PhaseNumbers, metrics: Path, say: Callable[[str], None], every: int) -> None:
        self.numbers = numbers
        self.metrics = metrics
        self.say = say
        self.every = every
        self._said = self._since = 0.0
        self._reported = 0
        self._saving_since: float | None = None
        self._learning_rate = float("nan")

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.is_global_zero:
            forget_from(self.metrics, self.numbers.phase, trainer.global_step)
        self._mark(trainer.global_step)

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        step = trainer.global_step
        if step == self._reported or not (step % self.every == 0 or step in (1, self.numbers.iterations)):
            return
        if trainer.is_global_zero:
            self._report(trainer, step)
        self._mark(step)

    def on_save_checkpoint(self, *args: Any) -> None:
        self._saving_since = time.perf_counter()

    def on_train_batch_start(self, *args: Any) -> None:
        """Take the time of a checkpoint out of the throughput."""
        if self._saving_since is not None:
            self._since += time.perf_counter() - self._saving_since
            self._saving_since = None

    def _mark(self, step: int) -> None:
        self._reported, self._since, self._saving_since = step, time.perf_counter(), None

    def _report(self, trainer: pl.Trainer, step: int) -> None:
        numbers, measured = self.numbers, trainer.callback_metrics
        seconds = time.perf_counter() - self._since
        rate = (step - self._reported) * numbers.tokens_per_iteration / seconds
        line = {
            "phase": numbers.phase,
            "iteration": step,
            "tokens": step * numbers.tokens_per_iteration,
            "tokens_total": numbers.tokens_before + step * numbers.tokens_per_iteration,
            "loss": float(measured["reduced_train_loss"]),
            "lr": self._learning_rate,
            "grad_norm": float(measured["grad_norm"]) if "grad_norm" in measured else None,
            "tokens_per_second": round(rate, 1),
        }
        if numbers.peak_flops:
            line["mfu"] = round(rate * numbers.flops_per_token / numbers.peak_flops, 4)
        append_line(self.metrics, line)
        self._say(line)
        for logger in trainer.loggers:
            logger.log_metrics({key: value for key, value in line.items() if value is not None}, step=step)

    def _say(self, line: dict[str, Any]) -> None:
        """Speak at most every few seconds, but always of the first and the last iteration."""
        now = time.perf_counter()
        if now - self._said >= _SECONDS_BETWEEN_LINES or line["iteration"] in (1, self.numbers.iterations):
            self._said = now
            self.say(_sentence(self.numbers, line))

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: Any, optimizer: Any) -> None:
        self._learning_rate = float(optimizer.param_groups[0]["lr"])  # the rate of this step, before the schedule moves


def _sentence(numbers: PhaseNumbers, line: dict[str, Any]) -> str:
    width = len(str(numbers.iterations))
    norm = f"  grad norm {line['grad_norm']:.2f}" if line["grad_norm"] is not None else ""
    mfu = f"  MFU {line['mfu']:.1%}" if "mfu" in line else ""
    return (
        f"phase {numbers.phase} {numbers.name}  {line['iteration']:>{width}}/{numbers.iterations}"
        f"  {line['tokens_total']:,} tokens  loss {line['loss']:.4f}  lr {line['lr']:.2e}{norm}"
        f"  {line['tokens_per_second']:,.0f} tokens/s{mfu}"
    )


def append_line(path: Path, line: dict[str, Any]) -> None:
    """Append one JSON object; a line that a kill left without its end is dropped by `forget_from` later."""
    with path.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(line) + "\n")


def forget_from(path: Path, phase: int, iteration: int) -> None:
    """Remove the lines of `phase` after `iteration`, of later phases, and half-written ones: they will come again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = [text for text in _whole_lines(path) if _before(json.loads(text), phase, iteration)]
    with atomic_file(path) as partial:
        partial.write_text("".join(kept), encoding="utf-8")


def _before(line: dict[str, Any], phase: int, iteration: int) -> bool:
    return (line["phase"], line["iteration"]) <= (phase, iteration)


def _whole_lines(path: Path) -> list[str]:
    if not path.is_file():
        return []
    return [text for text in path.read_text(encoding="utf-8").splitlines(keepends=True) if text.endswith("\n")]
