"""The bodies of `cpt convert import` and `cpt convert export`. torch is imported when they run."""

from pathlib import Path
from typing import Any

from recipes.errors import UserError
from recipes.shape import Qwen3Shape


def convert_import(
    hf_dir: Path, out: Path, shape_expected: Qwen3Shape | None = None, replace: bool = False
) -> dict[str, Any]:
    """Hugging Face folder -> NeMo checkpoint. Returns the manifest."""
    from convert.import_hf import import_hf

    return import_hf(hf_dir, out, shape_expected, replace=replace)


def convert_export(
    checkpoint: Path,
    out: Path,
    base: Path | None = None,
    shape: Qwen3Shape | None = None,
    tokenizer: Path | None = None,
    replace: bool = False,
) -> dict[str, Any]:
    """NeMo checkpoint -> Hugging Face folder with what `base`, or `shape` and `tokenizer`, say. Returns the manifest.

    Raises:
        UserError: neither a base nor both shape and tokenizer are given, or the conversion is impossible.
    """
    from convert.export_hf import Surroundings, export_hf, from_base

    if base is not None:
        return export_hf(checkpoint, out, from_base(base), replace=replace)
    if shape is None or tokenizer is None:
        raise UserError(
            f"{checkpoint}: a checkpoint says neither heads nor tokenizer; give the base model's folder with --base."
        )
    return export_hf(checkpoint, out, Surroundings(shape, tokenizer), replace=replace)


def summary(manifest: dict[str, Any], out: Path) -> str:
    """One line for the terminal after a conversion."""
    kind = "NeMo checkpoint" if manifest["kind"] == "import" else "Hugging Face model"
    tensors = f"{len(manifest['tensors'])} tensors in {manifest['dtype']}"
    return f"{kind} {out}: {tensors}, digest {manifest['digest'][:12]}, read back and compared."
