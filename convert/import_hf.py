"""Hugging Face folder -> NeMo checkpoint with weights only, one layer at a time."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import Tensor

from convert.checks import compare_with_written, tensor_digest
from convert.hf_folder import HfFolder
from convert.hf_writer import config_for
from convert.manifest import write_manifest
from convert.mapping import Slot, padded_vocabulary, slots, to_hf, to_megatron
from convert.nemo_checkpoint import NemoCheckpoint
from convert.nemo_writer import write_checkpoint
from convert.target import new_folder, refuse_other_shape
from recipes.artifacts import write_json
from recipes.shape import Qwen3Shape

VOCABULARY_MULTIPLE = 128  # Megatron-Core's make_vocab_size_divisible_by, as recipes.engine.model builds it


def import_hf(
    hf_dir: Path,
    out: Path,
    shape_expected: Qwen3Shape | None = None,
    *,
    vocabulary_multiple: int = VOCABULARY_MULTIPLE,
    local_names: bool = False,
    replace: bool = False,
    inputs: Any = None,
) -> dict[str, Any]:
    """Write the model of `hf_dir` as the NeMo checkpoint `out`, in the dtype it has, and read it back to compare.

    Args:
        shape_expected: what the recipe says the model is.
        vocabulary_multiple: pad the embedding with zero rows to a multiple of this.
        local_names: name the norms as the local layer spec does instead of as both specs load them.
        replace: overwrite `out` if it is there.
        inputs: stored in the manifest for the caller's own comparison.

    Returns:
        The manifest (`conversion.json`); its `digest` identifies the weights.

    Raises:
        UserError: unusable or unexpected model, occupied target, no space.
    """
    source = HfFolder(hf_dir)
    refuse_other_shape(hf_dir / "config.json", source.shape, shape_expected)
    dtype, digests = source.dtype, dict[str, str]()
    vocabulary = padded_vocabulary(source.shape.vocab_size, vocabulary_multiple)
    with new_folder(out, hf_dir, replace) as folder:
        write_checkpoint(folder, _converted(source, vocabulary, digests), source.shape.num_hidden_layers, local_names)
        compare_with_written(str(out), canonical_tensors(NemoCheckpoint(folder), source.shape), digests)
        (folder / "context").mkdir()
        write_json(folder / "context" / "config.json", config_for(source.shape, source.config, dtype, {}))
        return write_manifest(folder, "import", hf_dir, source.shape, dtype, digests, inputs=inputs)


def canonical_tensors(checkpoint: NemoCheckpoint, shape: Qwen3Shape) -> Iterator[tuple[str, Tensor]]:
    """The model's tensors under their Hugging Face names and in their order."""
    for slot in slots(shape):
        yield from to_hf(slot, checkpoint.read(slot), shape).items()


def _converted(source: HfFolder, vocabulary: int, digests: dict[str, str]) -> Iterator[tuple[Slot, Tensor]]:
    """Every Megatron-Core tensor; notes the digests of what went in."""
    for slot in slots(source.shape):
        parts = {name: source.tensor(name) for name in slot.hf}
        digests.update((name, tensor_digest(part)) for name, part in parts.items())
        yield slot, to_megatron(slot, list(parts.values()), source.shape, vocabulary)
