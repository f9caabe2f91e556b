"""Megatron's GPTDataset without its traps: separators stay as they are, no dense masks, a cache found by content."""

import hashlib
from collections import OrderedDict
from pathlib import Path
from typing import Any

from megatron.core.datasets.gpt_dataset import GPTDataset, GPTDatasetConfig


class SeparatorTokenizer:
    """All that Megatron's dataset asks of a tokenizer.

    `pad` is no token at all: with a real id, `GPTDataset.__getitem__` turns every such input token into 0 and drops its
    loss, and Qwen's pad token is the document separator.
    """

    pad = -1

    def __init__(self, separator_id: int, vocab_size: int) -> None:
        self.eod = separator_id
        self.vocab_size = vocab_size

    @property
    def unique_identifiers(self) -> OrderedDict[str, Any]:
        """Part of the cache key. The cached indices depend on document lengths only, never on the token values."""
        return OrderedDict(separator_id=self.eod, vocab_size=self.vocab_size)


class ShardDataset(GPTDataset):
    """GPTDataset whose cached indices are found by what they were computed from, not by where it lies.

    Upstream keys the cache by path: moved data misses it, data rewritten in place hits a stale one.
    """

    def __init__(self, indexed_dataset: Any, dataset_path: str, *args: Any) -> None:
        super().__init__(indexed_dataset, index_digest(Path(dataset_path)), *args)


def index_digest(prefix: Path) -> str:
    """sha256 of `<prefix>.idx`, which lists every document's length and place, and of the size of `<prefix>.bin`."""
    digest = hashlib.sha256(prefix.with_name(prefix.name + ".idx").read_bytes())
    digest.update(str(prefix.with_name(prefix.name + ".bin").stat().st_size).encode())
    return digest.hexdigest()


def dataset_config(
    train: list[Path],
    validation: list[Path],
    sequence_length: int,
    seed: int,
    cache: Path,
    tokenizer: SeparatorTokenizer,
) -> GPTDatasetConfig:
    """Bare prefixes, so that every one is read exactly once; attention and positions run across document ends.

    Args:
        train, validation: path prefixes without `.bin`/`.idx`; an empty list leaves the split out.
        cache: folder for Megatron's index files.
    """
    return GPTDatasetConfig(
        random_seed=seed,
        sequence_length=sequence_length,
        blend_per_split=[_blend(train), _blend(validation), None],
        path_to_cache=str(cache),
        tokenizer=tokenizer,
        reset_position_ids=False,
        reset_attention_mask=False,
        eod_mask_loss=False,
        create_attention_mask=False,
    )


def _blend(prefixes: list[Path]) -> tuple[list[str], None] | None:
    return ([str(prefix) for prefix in prefixes], None) if prefixes else None
