"""Faults in the batch of one sample, planted in a process that is about to train."""

import math
import os
import signal
import time
from collections.abc import Callable
from typing import Any

import torch


def plant(what: str, sample: int) -> None:
    """Change what happens with `sample`: in its forward pass by a function here, or where its data is read."""
    from megatron.core.datasets.blended_dataset import BlendedDataset

    from recipes.engine import layers

    read, forward, seen = BlendedDataset.__getitem__, layers.plain_forward_step, []

    def watched_read(self: Any, number: int) -> Any:
        if number == sample and what == "sleep_in_reading":
            sleep()
        item = read(self, number)
        if number == sample:
            seen[:] = [item["tokens"], item["labels"]]
        return item

    def watched_forward(model: Any, batch: dict[str, Any]) -> torch.Tensor:
        if seen and any(batch[key] is not None and any(map(seen_in(batch[key]), seen)) for key in ("tokens", "labels")):
            return FORWARD.get(what, unchanged)(forward, model, batch)
        return forward(model, batch)

    BlendedDataset.__getitem__, layers.plain_forward_step = watched_read, watched_forward


def seen_in(rows: torch.Tensor) -> Callable[[torch.Tensor], bool]:
    return lambda row: any(torch.equal(one, row) for one in rows)


def unchanged(forward: Any, model: Any, batch: Any) -> torch.Tensor:
    return forward(model, batch)


def nan_loss(forward: Any, model: Any, batch: Any) -> torch.Tensor:
    return forward(model, batch) * math.nan


def infinite_gradient(forward: Any, model: Any, batch: Any) -> torch.Tensor:
    """The loss is as it was."""
    output = forward(model, batch)
    output.register_hook(lambda gradient: gradient * math.inf)
    return output


def high_loss(forward: Any, model: Any, batch: Any) -> torch.Tensor:
    return forward(model, batch) * 9


def sleep_in_forward(forward: Any, model: Any, batch: Any) -> torch.Tensor:
    sleep()
    return forward(model, batch)


def freeze(forward: Any, model: Any, batch: Any) -> torch.Tensor:
    os.kill(os.getpid(), signal.SIGSTOP)
    return forward(model, batch)


def sleep() -> None:
    time.sleep(3600)


FORWARD = {one.__name__: one for one in (nan_loss, infinite_gradient, high_loss, sleep_in_forward, freeze)}
