"""Loss on held-out text while training, per domain: what is gained and what is forgotten, before the phase is over."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl

from recipes.artifacts import finite
from recipes.engine.held_out_loss import mean_losses, window_losses
from recipes.engine.held_out_windows import Window
from recipes.engine.metrics_file import append_line, read_lines
from recipes.engine.observing import Observer, place
from recipes.engine.phase_numbers import PhaseNumbers
from recipes.engine.progress import Progress

Losses = dict[str, float]  # nats per token


class Validation(Observer):
    """Scores held-out windows, says so, and notes it in metrics.jsonl before a checkpoint of the iteration is written.

    The line of a validation has no loss of training but `validation` (by domain), `validation_sources` and
    `validation_mean`: token-weighted means, in nats.

    Args:
        every: it validates at the multiples of each of these iterations.
        progress: of the phase: its numbers, its file of metrics, its voice.
        windows: see `recipes.engine.held_out_windows`.
        domains: source -> domain.
        micro_batch_tokens: as many as a micro batch has in training.

    Attributes:
        latest: the iteration of the last validation since this start, its mean, and its losses by domain.
    """

    def __init__(
        self,
        every: set[int],
        progress: Progress,
        windows: Sequence[Window],
        domains: Mapping[str, str],
        micro_batch_tokens: int,
    ) -> None:
        super().__init__(every, progress)
        self.windows, self.domains, self.micro_batch_tokens = windows, domains, micro_batch_tokens
        self.latest: tuple[int, float, Losses] | None = None

    def is_noted(self, step: int) -> bool:
        return any(
            (line["phase"], line["iteration"]) == (self.numbers.phase, step)
            for line in validations(self.progress.metrics)
        )

    def observe(self, trainer: pl.Trainer, step: int) -> None:
        sums = window_losses(trainer.strategy.megatron_parallel, self.windows, self.micro_batch_tokens)
        sources = [window.source for window in self.windows]
        by_source = mean_losses(self.windows, sums, sources)
        by_domain = mean_losses(self.windows, sums, [self.domains[source] for source in sources])
        mean = mean_losses(self.windows, sums, ["all"] * len(sources))["all"]
        self.latest = step, mean, by_domain
        if trainer.is_global_zero:
            first = next(validations(self.progress.metrics), None)
            append_line(self.progress.metrics, self._line(step, mean, by_domain, by_source))
            self.progress.say(sentence(self.numbers, step, by_domain, first["validation"] if first else {}))
            for logger in trainer.loggers:
                logger.log_metrics({f"validation/{name}": loss for name, loss in by_domain.items()}, step=step)

    def _line(self, step: int, mean: float, by_domain: Losses, by_source: Losses) -> dict[str, Any]:
        return {
            **place(self.numbers, step),
            "validation": {name: finite(loss) for name, loss in by_domain.items()},
            "validation_sources": {name: finite(loss) for name, loss in by_source.items()},
            "validation_mean": finite(mean),
        }


def validations(metrics: Path) -> Iterator[dict[str, Any]]:
    """The lines of all validations so far."""
    return (line for line in read_lines(metrics) if "validation" in line)


def sentence(numbers: PhaseNumbers, step: int, losses: Mapping[str, float], first: Mapping[str, float | None]) -> str:
    """For example `… validation: general 5.312 (perplexity 203, +0.041), legal 4.100 (perplexity 60.3, -0.731)`.

    The change is against `first`, the first validation of the run.
    """
    width = len(str(numbers.iterations))
    parts = []
    for name, loss in losses.items():
        change = f", {loss - began:+.3f}" if step + numbers.tokens_before and (began := first.get(name)) else ""
        parts.append(f"{name} {loss:.3f} (perplexity {_perplexity(loss)}{change})")
    return f"phase {numbers.phase} {numbers.name}  {step:>{width}}/{numbers.iterations}  validation: {', '.join(parts)}"


def _perplexity(loss: float) -> str:
    if not loss < math.log(1e6):
        return "over a million" if math.isfinite(loss) else "none"
    value = math.exp(loss)
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"
