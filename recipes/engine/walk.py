"""The order in which the ranks of a phase are handed samples, asked of NeMo's own sampler; no sample is read."""

from collections.abc import Iterator
from itertools import chain, islice, zip_longest

import torch
from megatron.core import parallel_state
from nemo.lightning.data import WrappedDataLoader

from recipes.engine.data_module import PhaseData
from recipes.rehearsal import Walk

STEPS = 2  # that are walked at the beginning, and at the end

Handed = list[list[list[int]]]  # [steps][replicas][samples]


def walk(data: PhaseData, samples: int, replicas: int) -> Walk:
    """Ask the sampler of each of the `replicas` for the first and the last steps of a phase of so many `samples`.

    In every step each of its samples must go to one replica, and a run that starts again between any two of these
    steps must go on with the same ones. Needs Megatron-Core's process groups.
    """
    batch = data.global_batch_size
    iterations = samples // batch
    windows = {range(min(STEPS, iterations)), range(max(0, iterations - STEPS), iterations)}
    problems = []
    for window in sorted(windows, key=lambda window: window.start):
        handed = _handed(data, samples, replicas, window)
        problems += _not_once(handed, window, batch)
        for step in window[1:]:
            if _handed(data, samples, replicas, range(step, window.stop)) != handed[step - window.start :]:
                problems.append(f"a run that starts again at step {step:,} goes on with other samples")
    steps = sorted({step for window in windows for step in window})
    restarts = sum(len(window) - 1 for window in windows)
    return Walk(steps=steps, samples=len(steps) * batch, restarts=restarts, problems=problems)


def _not_once(handed: Handed, window: range, batch: int) -> list[str]:
    """A sentence for each step of `window` whose samples did not go to one replica each."""
    problems = []
    if len(handed) != len(window):
        problems.append(f"from step {window.start:,} on there are {len(handed)} steps instead of {len(window)}")
    for step, replicas in zip(window, handed, strict=False):
        if sorted(chain.from_iterable(replicas)) != list(range(step * batch, (step + 1) * batch)):
            problems.append(f"step {step:,}: its samples do not go to one replica each")
    return problems


def _handed(data: PhaseData, samples: int, replicas: int, window: range) -> Handed:
    """What the replicas get in the steps of `window` if a run starts there; in the last step all that there is."""
    accumulation = data.global_batch_size // (data.micro_batch_size * replicas)
    stop = None if window.stop * data.global_batch_size == samples else len(window) * accumulation
    streams = [islice(_micro_batches(data, samples, replica, window.start), stop) for replica in range(replicas)]
    micro_batches = list(zip_longest(*streams, fillvalue=[]))  # [micro batches][replicas][samples]
    return [
        [list(chain.from_iterable(one)) for one in zip(*micro_batches[first : first + accumulation], strict=True)]
        for first in range(0, len(micro_batches), accumulation)
    ]


def _micro_batches(data: PhaseData, samples: int, replica: int, step: int) -> Iterator[list[int]]:
    """Those of one replica from `step` on, as the data module and its sampler deal them out after a restart there."""
    parallel_state.set_data_parallel_rank(replica)
    try:
        data.load_state_dict({"consumed_samples": step * data.global_batch_size})
        loader = data.data_sampler.transform_dataloader(WrappedDataLoader(mode="train", dataset=_Numbers(samples)))
    finally:
        parallel_state.set_data_parallel_rank(None)
    return iter(loader.batch_sampler)


class _Numbers(torch.utils.data.Dataset[int]):
    """A dataset of which only the length is asked."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length
