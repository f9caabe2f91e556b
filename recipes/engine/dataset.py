"""Megatron's GPTDataset without its traps: separators stay as they are, no dense masks, one epoch and no more."""

from collections import OrderedDict
from pathlib import Path
from typing import Any

from megatron.core.datasets.blended_dataset import BlendedDataset
from megatron.core.datasets.blended_megatron_dataset_builder import BlendedMegatronDatasetBuilder
from megatron.core.datasets.gpt_dataset import GPTDataset, GPTDatasetConfig

from recipes.blend import Blend
from recipes.errors import UserError


class SeparatorTokenizer:
    """All that Megatron's dataset asks of a tokenizer.

    `pad` is no token but what fills a pack behind its documents: `GPTDataset.__getitem__` turns such inputs into
    token 0 and drops their loss. With a real id it would do so to that token, and Qwen's pad is the document separator.
    """

    pad = -1

    def __init__(self, separator_id: int, vocab_size: int) -> None:
        self.eod = separator_id
        self.vocab_size = vocab_size

    @property
    def unique_identifiers(self) -> OrderedDict[str, Any]:
        """Part of the names of the index files, which depend on document lengths only, never on the token values."""
        return OrderedDict(separator_id=self.eod, vocab_size=self.vocab_size)


class ShardDataset(GPTDataset):
    """GPTDataset whose index files are named after its slice, not after where it lies: the folder may move.

    Their folder stands for the content (recipes/engine/build_cache.py).
    """

    def __init__(self, indexed_dataset: Any, dataset_path: str, *args: Any) -> None:
        super().__init__(indexed_dataset, Path(dataset_path).name, *args)
        # Upstream caches the first sample's loss mask and then blanks that sample's padding in the cached tensor:
        # every later sample would lose the loss of those positions.
        self.masks_and_position_ids_are_cacheable = False
        self.indices = None  # the numbers of all documents: only building needed them


def dataset_config(folder: Path, blend: Blend, cache: Path, document_masking: bool = False) -> GPTDatasetConfig:
    """Bare prefixes, so that every one is read exactly once.

    Concatenated documents are cut into windows of sequence_length + 1 that share a token. A pack is a window of its
    own: its last token has no label, and no loss.

    Args:
        folder: `phases/<n>`.
        cache: folder of Megatron's index files, which do not depend on `document_masking`.
        document_masking: positions start again behind every separator, and padding is a document of its own. The
            separator has no loss then: its label is the first token of a document that it knows nothing of.
    """
    return GPTDatasetConfig(
        random_seed=blend.seed,
        sequence_length=blend.sequence_length,
        blend_per_split=[([str(folder / prefix) for prefix in blend.prefixes], None), None, None],
        path_to_cache=str(cache),
        tokenizer=SeparatorTokenizer(blend.separator_id, blend.vocab_size),
        reset_position_ids=document_masking,
        reset_attention_mask=False,  # only of the dense mask
        eod_mask_loss=document_masking,
        create_attention_mask=False,
        add_extra_token_to_sequence=blend.packing == "concatenate",
    )


def open_dataset(
    folder: Path, blend: Blend, cache: Path, document_masking: bool = False
) -> BlendedDataset | ShardDataset:
    """The samples of a phase by Megatron's own builder, which maps the index files in `cache`.

    No size is asked for: with one, a single slice that is too short would silently be read a second time.

    Raises:
        UserError: the slices hold fewer samples than training reads.
    """
    config = dataset_config(folder, blend, cache, document_masking)
    dataset = BlendedMegatronDatasetBuilder(ShardDataset, [None, None, None], lambda: True, config).build()[0]
    if len(dataset) < blend.samples:
        raise UserError(
            f"{folder}: the mixture holds {len(dataset)} samples, blend.json asks for {blend.samples}; "
            f"rebuild the mixture."
        )
    return dataset
