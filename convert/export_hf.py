"""NeMo checkpoint -> Hugging Face folder that `transformers` loads, one layer at a time."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.progress import Progress
from torch import Tensor

from convert.hf_folder import HfFolder, read_config, shape_of
from convert.hf_writer import config_for, copy_licence, copy_tokenizer, special_tokens, write_weights
from convert.manifest import write_manifest
from convert.mapping import Slot, hf_sizes
from convert.model_card import Card, render_card
from convert.opening import open_checkpoint
from convert.origin import origin
from convert.passage import QUIET, ahead, passage, read_back
from convert.target import new_folder
from convert.weights import Compare, Weights
from recipes.artifacts import read_fields, write_json
from recipes.checkpoints import DIGESTS, find_damage
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
        shape_of(base / "config.json", config), base, config, read_fields(generation) if generation.is_file() else None
    )


def export_hf(
    checkpoint: Path, out: Path, surroundings: Surroundings, *, verify: bool = True, **options: Any
) -> dict[str, Any]:
    """Write the weights of `checkpoint` as the Hugging Face folder `out`; see `write_hf_folder`.

    Args:
        verify: compare the checkpoint's files with their digests before, and the result with the checkpoint after.

    Raises:
        UserError: the checkpoint is damaged, or was made for another shape than that of `surroundings`.
    """
    checkpoint = checkpoint.resolve()
    source = open_checkpoint(checkpoint, surroundings.shape)
    if verify and (checkpoint / DIGESTS).is_file() and (damage := find_damage(checkpoint)):
        raise UserError(f"{checkpoint}: the checkpoint is damaged ({damage}); use the one before it.")
    return write_hf_folder(source, out, surroundings, verify=verify, origin=origin(checkpoint), **options)


def write_hf_folder(
    source: Weights,
    out: Path,
    surroundings: Surroundings,
    *,
    dtype: torch.dtype | None = None,
    card: Card | None = None,
    replace: bool = False,
    verify: bool = True,
    compare: Compare | None = None,
    progress: Progress = QUIET,
    inputs: Any = None,
    **known: Any,
) -> dict[str, Any]:
    """Write a model as the Hugging Face folder `out`, and read it back to compare.

    Args:
        surroundings: `from_base(folder)`, or `Surroundings(shape, tokenizer folder)` for a model without a base.
        dtype: of the written weights; by default that of the source, bit for bit.
        card: facts for the model card.
        replace: overwrite `out` if it is there.
        verify: read the result back and compare every tensor.
        compare: compares how the two models compute; its answer goes into the manifest.
        inputs: stored in the manifest for the caller's own comparison.
        known: what else the manifest is to say.

    Returns:
        The manifest (`conversion.json`); its `digest` identifies the weights.

    Raises:
        UserError: unusable source, another shape, NaN, all-zero matrix, occupied target, no space.
    """
    written, digests = dtype or source.dtype, dict[str, str]()
    with new_folder(out, source.folders, replace) as folder:
        _write_surroundings(folder, surroundings, written)
        write_weights(
            folder,
            _named(ahead(passage(source, written, digests, "writing the model", progress))),
            hf_sizes(source.shape),
            written,
        )
        name = str(written).removeprefix("torch.")
        text = render_card(card or Card(), source.iteration, name, source.shape)
        (folder / "README.md").write_text(text, encoding="utf-8")
        if verify:
            read_back(HfFolder(folder), digests, out, progress)
        compared = compare(source, folder) if compare else None
        more = {"inputs": inputs, "read_back": verify, "comparison": compared, **known}
        return write_manifest(folder, "export", source, written, digests, **more)


def _named(passing: Iterator[tuple[Slot, dict[str, Tensor]]]) -> Iterator[tuple[str, Tensor]]:
    for _, parts in passing:
        yield from parts.items()


def _write_surroundings(folder: Path, given: Surroundings, dtype: torch.dtype) -> None:
    tokens = special_tokens(given.tokenizer, given.shape.vocab_size)
    write_json(folder / "config.json", config_for(given.shape, given.config, dtype, tokens))
    write_json(folder / "generation_config.json", given.generation_config or {"_from_model_config": True, **tokens})
    copy_tokenizer(given.tokenizer, folder)
    copy_licence(given.tokenizer, folder)
