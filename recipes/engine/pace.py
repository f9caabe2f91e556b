"""How fast training goes now, and how long what is left will take."""

from collections import deque
from statistics import median

_INTERVALS = 50  # between logged steps: the recent past


class Pace:
    """The clock of one start of a phase, in seconds that only go forwards.

    What is left is counted in FLOPs, so that later phases of another sequence length are in it; that their FLOPs come
    at the rate of this phase's is an estimate. The rate is the median of the recent intervals: one slow step changes
    nothing. Checkpoints and other pauses add the share of the time that they have had in this start.
    """

    def __init__(self, now: float) -> None:
        self._costs: deque[float] = deque(maxlen=_INTERVALS)  # seconds per FLOP
        self._trained = self._paused = 0.0  # seconds of the intervals that are over
        self.restart(now)

    def restart(self, now: float) -> None:
        """Begin an interval here; what was before it counts for nothing."""
        self._since, self._pause = now, 0.0
        self._stopped: float | None = None

    def stop(self, now: float) -> None:
        """What happens from now on is no training, until `go_on`."""
        self._stopped = now if self._stopped is None else self._stopped

    def go_on(self, now: float) -> None:
        if self._stopped is not None:
            self._pause += now - self._stopped
            self._stopped = None

    def interval(self, now: float, flops: float) -> float:
        """End an interval of `flops` and begin the next; returns its seconds, pauses left out."""
        self.go_on(now)
        seconds = now - self._since - self._pause
        self._costs.append(seconds / flops)
        self._trained += seconds
        self._paused += self._pause
        self.restart(now)
        return seconds

    def seconds_for(self, flops: float) -> float:
        """An estimate for `flops` more, pauses included; there must have been an interval."""
        return flops * median(self._costs) * (1 + self._paused / self._trained)
