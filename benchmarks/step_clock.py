"""Times optimizer steps inside the process that makes them, and says what they cost as one line of JSON."""

import json
import resource
import time
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

PROFILED = 2  # steps


class StepClock:
    """To be told of every optimizer step; `finished` when it has seen `warm_up` and then `steps` of them.

    Args:
        costs: also profile a few steps more, and name the operators that take most of them.
    """

    def __init__(self, warm_up: int, steps: int, costs: bool) -> None:
        self.warm_up, self.steps, self.costs = warm_up, steps, costs
        self.cuda = torch.cuda.is_available()
        self._done, self._begun, self._seconds, self._lines = 0, 0.0, 0.0, list[str]()
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if self.cuda else [])]
        self._profile = profile(activities=activities)

    @property
    def needed(self) -> int:
        """Steps until it has finished."""
        return self.warm_up + self.steps + (PROFILED if self.costs else 0)

    @property
    def finished(self) -> bool:
        return self._done >= self.needed

    def step_done(self) -> None:
        self._done += 1
        if self._done == self.warm_up:
            self._begun = self._now()
        if self._done == self.warm_up + self.steps:
            self._seconds = (self._now() - self._begun) / self.steps
            if self.costs:
                self._profile.start()
        elif self.costs and self.finished:
            self._now()
            self._profile.stop()
            self._lines = _costs(self._profile, self.cuda)

    def answer(self) -> None:
        """Print what `gpu_step.py` reads: seconds per step, bytes of memory at most."""
        found = {"seconds": self._seconds, "memory": self._memory(), "profile": self._lines}
        print("ANSWER " + json.dumps(found), flush=True)

    def _now(self) -> float:
        if self.cuda:
            torch.cuda.synchronize()
        return time.perf_counter()

    def _memory(self) -> int:
        if self.cuda:
            return torch.cuda.max_memory_allocated()
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _costs(found: Any, cuda: bool) -> list[str]:
    """The five operators with the most time of their own: on the GPU, or without one on the CPU."""
    events = found.key_averages()
    times = [(event.self_device_time_total if cuda else event.self_cpu_time_total, event) for event in events]
    total = sum(time for time, _ in times)  # microseconds
    top = sorted(times, key=lambda pair: -pair[0])[:5]
    return [
        f"{time / total:6.1%} {time / PROFILED / 1e3:9.2f} ms a step, {event.count // PROFILED:5} calls: {event.key}"
        for time, event in top
    ]
