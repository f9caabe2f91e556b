"""NeMo checkpoint -> Hugging Face folder that `transformers` loads, one layer at a time."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from convert.checks import check_tensor, compare_with_written, tensor_digest
from convert.hf_folder import DTYPES, HfFolder, read_config, shape_of
from convert.hf_writer import config_for, copy_tokenizer, special_tokens, write_weights
from convert.import_hf import canonical_tensors
from convert.manifest import write_manifest
from convert.mapping import Size, hf_sizes, slots
from convert.model_card import Card, render_card
from convert.nemo_checkpoint import NemoCheckpoint
from convert.target import new_folder
from recipes.artifacts import read_json, write_json
from recipes.errors import UserError
from recipes.shape import Qwen3Shape


@dataclass(frozen=True)
class Surroundings:
    """What an export needs beside the weights: shape, tokenizer, and the base's config files if there is a base."""

    shape: Qwen3Shape
    tokenizer: Path
    config: dict[str, Any] | None = None
    generation_config: dict[str, Any] | None = None


def from_base(base: Path) -> Surroundings:
    """Take shape, config and tokenizer from the folder of the base model (its weights are not needed)."""
    config = read_config(base)
    generation = base / "generation_config.json"
    return Surroundings(
        shape_of(base / "config.json", config), base, config, read_json(generation) if generation.is_file() else None
    )


def export_hf(
    checkpoint: Path,
    out: Path,
    surroundings: Surroundings,
    *,
    dtype: torch.dtype | None = None,
    card: Card | None = None,
    replace: bool = False,
    inputs: Any = None,
) -> dict[str, Any]:
    """Write the weights of `checkpoint` as the Hugging Face folder `out`, and read it back to compare.

    Args:
        surroundings: `from_base(folder)`, or `Surroundings(shape, tokenizer folder)` for a model without a base.
        dtype: of the written weights; by default that of the checkpoint, bit for bit.
        card: facts for the model card.
        replace: overwrite `out` if it is there.
        inputs: stored in the manifest for the caller's own comparison.

    Returns:
        The manifest (`conversion.json`); its `digest` identifies the weights.

    Raises:
        UserError: unusable checkpoint, another shape, NaN, all-zero matrix, occupied target, no space.
    """
    source = NemoCheckpoint(checkpoint)
    shape = surroundings.shape
    _refuse_other_model(source, shape)
    written = dtype or _dtype(source, shape)
    sizes, digests = hf_sizes(shape), dict[str, str]()
    with new_folder(out, checkpoint, replace) as folder:
        write_weights(folder, _checked(source, shape, sizes, written, digests), sizes, written)
        _write_surroundings(folder, surroundings, written)
        name = str(written).removeprefix("torch.")
        (folder / "README.md").write_text(render_card(card or Card(), source.iteration, name), encoding="utf-8")
        back = HfFolder(folder)
        compare_with_written(str(out), ((name, back.tensor(name)) for name in back.sizes), digests)
        return write_manifest(folder, "export", checkpoint, shape, written, digests, source.iteration, inputs)


def _checked(
    source: NemoCheckpoint, shape: Qwen3Shape, sizes: dict[str, Size], dtype: torch.dtype, digests: dict[str, str]
) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in canonical_tensors(source, shape):
        check_tensor(str(source.folder), name, tensor, sizes[name])
        converted = tensor.to(dtype)
        digests[name] = tensor_digest(converted)
        yield name, converted


def _write_surroundings(folder: Path, given: Surroundings, dtype: torch.dtype) -> None:
    tokens = special_tokens(given.tokenizer)
    write_json(folder / "config.json", config_for(given.shape, given.config, dtype, tokens))
    write_json(folder / "generation_config.json", given.generation_config or {"_from_model_config": True, **tokens})
    copy_tokenizer(given.tokenizer, folder)


def _refuse_other_model(source: NemoCheckpoint, shape: Qwen3Shape) -> None:
    """Compare what the checkpoint holds with what the shape asks for, before anything is written."""
    unknown = sorted(source.model_keys() - {key for slot in slots(shape) for key in slot.keys})
    if unknown:
        raise UserError(
            f"{source.folder}: the config has no place for {unknown[0]}; give the base it was trained from."
        )
    for slot in slots(shape):
        found, expected = source.size(slot), slot.megatron_size(shape)
        padded = slot.rule.over_vocabulary and found[0] >= expected[0] and found[1:] == expected[1:]
        if found != expected and not padded:
            sizes = f"{list(found)}, the config asks for {list(expected)}"
            raise UserError(f"{source.folder}: {slot.keys[0]} is {sizes}; give the base it was trained from.")


def _dtype(source: NemoCheckpoint, shape: Qwen3Shape) -> torch.dtype:
    found = {source.dtype(slot) for slot in slots(shape)}
    if len(found) > 1 or not found <= set(DTYPES.values()):
        names = sorted(str(each) for each in found)
        raise UserError(
            f"{source.folder}: expected weights in one of bf16, fp16, fp32, found {names}; state the dtype to write."
        )
    return found.pop()
