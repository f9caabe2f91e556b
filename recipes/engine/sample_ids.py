"""Which samples a micro batch holds and which documents a sample: names for what went wrong."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from megatron.core import parallel_state
from megatron.core.datasets.blended_dataset import BlendedDataset
from megatron.core.datasets.indexed_dataset import IndexedDataset


class Deal(NamedTuple):
    """How the samples of a phase are dealt out to the data-parallel replicas: blocks of micro batch × replicas."""

    global_batch_size: int
    micro_batch_size: int
    replicas: int

    @property
    def micro_batches(self) -> int:
        """Of one replica in one iteration."""
        return self.global_batch_size // (self.micro_batch_size * self.replicas)

    def samples(self, iteration: int, micro_batch: int, replica: int) -> list[int]:
        """Numbers from 0 in the phase; iterations count from 1, micro batches and replicas from 0."""
        first = (iteration - 1) * self.global_batch_size
        first += (micro_batch * self.replicas + replica) * self.micro_batch_size
        return list(range(first, first + self.micro_batch_size))


def deal_of(data: Any) -> Deal:
    """That of a `recipes.engine.data_module.PhaseData`, where Megatron-Core's process groups are."""
    return Deal(data.global_batch_size, data.micro_batch_size, parallel_state.get_data_parallel_world_size())


def named(dataset: Any, folder: Path, samples: Iterable[int]) -> str:
    """Samples in words, each with its source and documents; arguments as of `documents_of`."""
    return ", ".join(f"sample {sample} ({_documents(*documents_of(dataset, folder, sample))})" for sample in samples)


def _documents(source: str, numbers: list[int]) -> str:
    return f"document{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))} of {source}"


def documents_of(dataset: Any, folder: Path, sample: int) -> tuple[str, list[int]]:
    """The source of a sample, and the documents that have tokens in it, in their order.

    Documents are numbers from 0 in the source's shard; where a slice has tokens of its own, as packs have, in that.

    Args:
        dataset: of the phase, by `recipes.engine.dataset.open_dataset`.
        folder: `phases/<n>`.
    """
    part = dataset
    if isinstance(dataset, BlendedDataset):
        part = dataset.datasets[dataset.dataset_index[sample]]
        sample = int(dataset.dataset_sample_index[sample])
    _, numbers = part._query_document_sample_shuffle_indices(sample)
    begin = part.sample_index[part.shuffle_index[sample]][1]
    if begin == part.dataset.index.sequence_lengths[numbers[0]]:  # a pack begins at the end of the one before
        numbers = numbers[1:]
    source = part.dataset_path
    shard = (folder / f"{source}.bin").resolve().with_suffix("")
    if shard.parent != folder.resolve():  # the slice lists documents of a shard, by where they begin
        begins = part.dataset.index.sequence_pointers[numbers]
        listed = IndexedDataset(str(shard))  # its arrays are unmapped when it goes
        numbers = np.searchsorted(listed.index.sequence_pointers, begins, side="right") - 1
    return source, [int(number) for number in numbers]
