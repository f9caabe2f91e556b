"""Hugging Face folder -> NeMo checkpoint with weights only, one layer at a time."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.progress import Progress
from torch import Tensor

from convert.hf_folder import HfFolder
from convert.hf_writer import config_for
from convert.manifest import write_manifest
from convert.mapping import Slot, padded_vocabulary, to_megatron
from convert.nemo_checkpoint import NemoWeights
from convert.nemo_writer import write_checkpoint
from convert.passage import QUIET, ahead, passage, read_back
from convert.target import new_folder, refuse_other_shape
from convert.weights import Compare
from recipes.artifacts import write_json
from recipes.engine.base_loss import loss_of
from recipes.shape import Qwen3Shape

VOCABULARY_MULTIPLE = 128  # Megatron-Core's make_vocab_size_divisible_by, as recipes.engine.model builds it


def import_hf(
    hf_dir: Path,
    out: Path,
    shape_expected: Qwen3Shape | None = None,
    *,
    vocabulary_multiple: int = VOCABULARY_MULTIPLE,
    local_names: bool = False,
    allow_pickle: bool = False,
    replace: bool = False,
    verify: bool = True,
    compare: Compare | None = None,
    progress: Progress = QUIET,
    inputs: Any = None,
) -> dict[str, Any]:
    """Write the model of `hf_dir` as the NeMo checkpoint `out`, in the dtype it has, and read it back to compare.

    Args:
        shape_expected: what the recipe says the model is.
        vocabulary_multiple: pad the embedding with zero rows to a multiple of this.
        local_names: name the norms as the local layer spec does instead of as both specs load them.
        allow_pickle: read pickled weights where there is no safetensors file.
        replace: overwrite `out` if it is there.
        verify: read the result back and compare every tensor.
        compare: compares how the two models compute; its answer goes into the manifest.
        inputs: stored in the manifest for the caller's own comparison.

    Returns:
        The manifest (`conversion.json`); its `digest` identifies the weights.

    Raises:
        UserError: unusable or unexpected model, occupied target, no space.
    """
    source = HfFolder(hf_dir, allow_pickle)
    refuse_other_shape(hf_dir / "config.json", source.shape, shape_expected)
    dtype, digests, layers = source.dtype, dict[str, str](), source.shape.num_hidden_layers
    vocabulary = padded_vocabulary(source.shape.vocab_size, vocabulary_multiple)
    with new_folder(out, source.folders, replace) as folder:
        tensors = passage(source, dtype, digests, "writing the checkpoint", progress)
        write_checkpoint(folder, ahead(_joined(tensors, source.shape, vocabulary)), layers, local_names)
        (folder / "context").mkdir()
        write_json(folder / "context" / "config.json", config_for(source.shape, source.config, dtype, {}))
        if verify:
            read_back(NemoWeights(folder, source.shape), digests, out, progress)
        more: dict[str, Any] = {"inputs": inputs, "read_back": verify, "comparison": None}
        if compare:
            more["comparison"] = compare(source, folder)
            more["warm_start"] = {"loss": loss_of(hf_dir, source.tensor)}  # what training must begin at
        return write_manifest(folder, "import", source, dtype, digests, tokenizer=hf_dir, **more)


def _joined(
    passing: Iterator[tuple[Slot, dict[str, Tensor]]], shape: Qwen3Shape, vocabulary: int
) -> Iterator[tuple[Slot, Tensor]]:
    for slot, parts in passing:
        yield slot, to_megatron(slot, list(parts.values()), shape, vocabulary)
