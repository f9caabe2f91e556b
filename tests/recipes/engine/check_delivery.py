"""Reads every sample of phase 1 through the data module and compares it with the shards; run by test_delivery.py.

A program of its own, because the CPU compatibility layer changes the torch of the process it is switched on in.
"""

import sys
from collections import Counter
from pathlib import Path

import numpy as np
import torch

from data_prep.indexed import read_document, read_index, read_tokens
from recipes.blend import load_blend
from recipes.engine.platform import prepare
from recipes.layout import RunFolder


def main(run: RunFolder) -> None:
    prepare()
    from recipes.engine.data_module import PhaseData

    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    blend = load_blend(run, 1)
    heldout = (run.phase(1) / "second",)
    cache = run.training / "index_cache"
    data = PhaseData(run.phase(1), blend, micro_batch_size=1, cache=cache, heldout=heldout, validation_samples=5)
    data.setup()
    delivered = [data._train[number] for number in range(len(data._train))]
    for sample in delivered:
        _check_sample(sample)
    assert sum(int((sample["tokens"] == blend.separator_id).sum()) for sample in delivered) > 10
    given = Counter(tuple(torch.cat([one["tokens"], one["labels"][-1:]]).tolist()) for one in delivered)
    expected = Counter(window for source in data._train.datasets for window in _windows(source, run, blend))
    assert given == expected
    assert data._validation is not None and len(data._validation) >= 5
    print(f"{len(delivered)} samples, every window of both sources once")


def _check_sample(sample: dict[str, torch.Tensor]) -> None:
    assert "attention_mask" not in sample
    assert torch.equal(sample["tokens"][1:], sample["labels"][:-1])
    assert torch.equal(sample["loss_mask"], torch.ones(len(sample["tokens"])))
    assert torch.equal(sample["position_ids"], torch.arange(len(sample["tokens"])))
    assert not (sample["tokens"] == 0).any()  # what a separator becomes if it is taken for padding


def _windows(source: object, run: RunFolder, blend: object) -> list[tuple[int, ...]]:
    """Cut the documents, in Megatron's shuffled order, into windows of sequence_length + 1 that share one token."""
    prefix = Path(source.dataset.path_prefix)  # type: ignore[attr-defined]
    index = read_index(prefix, whole=False)  # a slice
    tokens = read_tokens(prefix, index)
    order = source.document_index  # type: ignore[attr-defined]
    assert sorted(order) == list(range(len(index.lengths)))  # every document once
    stream = np.concatenate([read_document(tokens, index, number) for number in order])
    length = blend.sequence_length  # type: ignore[attr-defined]
    return [tuple(stream[start : start + length + 1].tolist()) for start in range(0, len(stream) - length, length)]


if __name__ == "__main__":
    main(RunFolder(Path(sys.argv[1])))
