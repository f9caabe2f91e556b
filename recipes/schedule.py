"""The learning rate at every iteration, as plain arithmetic; `recipes.engine.schedules` gives NeMo these numbers.

Warmup and cosine are counted as `nemo.core.optim.lr_scheduler.CosineAnnealing` does. The decline of wsd is "1-sqrt",
which Hägele et al. 2024 (arXiv 2405.18392) found better than a linear one.
"""

import math
from typing import Literal, NamedTuple

from recipes.schema import Recipe


class Curve(NamedTuple):
    """A schedule in iterations. Phases that continue one share it; each reads it from its own offset on."""

    kind: Literal["cosine", "constant", "wsd"]
    max_lr: float
    min_lr: float
    warmup: int  # iterations at its start
    decay: int  # wsd: iterations at its end
    length: int  # iterations of all phases that share it
    offset: int  # iterations of those before this one

    def at(self, iteration: int) -> float:
        """The rate of the optimizer step that follows `iteration` steps of the phase: 0 for its first."""
        step = min(self.offset + iteration, self.length)
        if step < self.warmup:
            return self.max_lr * ((step + 1) / (self.warmup + 1))
        height = self._height(step)
        return self.max_lr if height == 1 else (self.max_lr - self.min_lr) * height + self.min_lr

    def _height(self, step: int) -> float:
        """Where `step` lies between min_lr (0) and max_lr (1)."""
        if self.kind == "cosine":
            return 0.5 * (1 + math.cos(math.pi * (step - self.warmup) / max(1, self.length - self.warmup)))
        if self.kind == "wsd" and (decayed := step - (self.length - self.decay)) > 0:
            return 1 - math.sqrt(decayed / self.decay)
        return 1.0


def phase_curve(recipe: Recipe, number: int) -> Curve:
    """The curve that phase `number` reads: its own, or that of the last phase before it that does not continue one."""
    kinds = [phase.schedule.kind for phase in recipe.phases]
    first = max(one for one in range(1, number + 1) if kinds[one - 1] != "continue")
    after = next((one for one in range(first + 1, len(kinds) + 1) if kinds[one - 1] != "continue"), len(kinds) + 1)
    schedule, warmup = recipe.phase(first).schedule, recipe.phase(first).warmup_iterations
    assert schedule.kind != "continue" and schedule.max_lr is not None  # the schema says so
    length = _iterations(recipe, first, after)
    return Curve(
        kind=schedule.kind,
        max_lr=schedule.max_lr,
        min_lr=schedule.min_lr,
        warmup=warmup,
        decay=min(round((schedule.decay_fraction or 0) * length), length - warmup),
        length=length,
        offset=_iterations(recipe, first, number),
    )


def learning_rate(recipe: Recipe, phase: int, iteration: int) -> float:
    """The rate of the optimizer step that follows `iteration` steps of phase number `phase`."""
    return phase_curve(recipe, phase).at(iteration)


def _iterations(recipe: Recipe, first: int, after: int) -> int:
    return sum(recipe.phase(number).iterations for number in range(first, after))
