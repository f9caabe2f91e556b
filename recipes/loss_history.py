"""The losses of the last iterations, and whether the next one is a spike: the arithmetic behind `recipe.faults`."""

import math
import statistics
from collections import deque
from collections.abc import Iterable
from typing import Literal, NamedTuple

from recipes.schema import Faults

Kind = Literal["nan", "spike"]

# The median absolute deviation of a normal distribution times this is its standard deviation (Rousseeuw & Croux 1993,
# "Alternatives to the Median Absolute Deviation").
CONSISTENCY = 1.4826
# A deviation below this part of the median counts as this: losses that hardly differ have no spikes. Ours.
LEAST_DEVIATION = 0.01


class Iteration(NamedTuple):
    """What is kept of an iteration."""

    loss: float | None  # nats per token; None: NaN or infinite
    skipped: bool


class LossHistory:
    """The last `window` iterations of a phase.

    A loss is a spike above

        median + spike_deviations · max(1.4826 · MAD, 0.01 · |median|)

    of the finite losses of a whole window, where MAD is the median distance from the median: the modified z-score of
    Iglewicz & Hoaglin (1993, "How to Detect and Handle Outliers") with a least deviation. Half a window of high losses
    moves neither, and a lasting change is the new normal after half a window: so every finite loss is kept, whatever
    became of its batch.
    """

    def __init__(self, faults: Faults, iterations: Iterable[Iteration] = ()) -> None:
        self.faults = faults
        self.iterations = deque(iterations, maxlen=faults.window)

    def add(self, loss: float, skipped: bool) -> None:
        self.iterations.append(Iteration(loss if math.isfinite(loss) else None, skipped))

    def threshold(self) -> float | None:
        """The loss above which there is a spike; None before the window is full, or if half of it is not finite."""
        losses = [one.loss for one in self.iterations if one.loss is not None]
        if len(self.iterations) < self.faults.window or 2 * len(losses) < self.faults.window:
            return None
        median = statistics.median(losses)
        deviation = CONSISTENCY * statistics.median(abs(loss - median) for loss in losses)
        return median + self.faults.spike_deviations * max(deviation, LEAST_DEVIATION * abs(median))

    def fault(self, loss: float, finite: bool) -> Kind | None:
        """What is wrong with an iteration of this loss; `finite` is whether its loss and gradients are."""
        if not finite:
            return "nan"
        threshold = self.threshold()
        return "spike" if threshold is not None and loss > threshold else None

    def may_skip(self) -> bool:
        """Whether one more skipped batch stays within `max_skipped` of a window."""
        recent = list(self.iterations)[-(self.faults.window - 1) :]
        return sum(one.skipped for one in recent) < self.faults.max_skipped
