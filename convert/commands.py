"""The bodies of the `cpt convert` commands. torch is imported when they run."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.progress import Progress

from recipes.errors import UserError
from recipes.shape import Qwen3Shape

if TYPE_CHECKING:
    import torch

    from convert.model_card import Card


_DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}


def convert_import(
    hf_dir: Path,
    out: Path,
    shape_expected: Qwen3Shape | None,
    allow_pickle: bool,
    verify: bool,
    progress: Progress,
) -> dict[str, Any]:
    """Hugging Face folder -> NeMo checkpoint; see `import_hf`. `verify` includes logits. Returns the manifest."""
    from convert.import_hf import import_hf

    options = _options(verify, progress, allow_pickle)
    return import_hf(hf_dir, out, shape_expected, allow_pickle=allow_pickle, **options)


def convert_export(
    checkpoint: Path,
    out: Path,
    base: Path | None = None,
    shape: Qwen3Shape | None = None,
    tokenizer: Path | None = None,
    *,
    dtype: str | None,
    card: "Card | None",
    verify: bool,
    progress: Progress,
) -> dict[str, Any]:
    """NeMo checkpoint -> Hugging Face folder with what `base`, or `shape` and `tokenizer`, say. Returns the manifest.

    Without either, the base that the checkpoint's run was started from serves. `verify` includes logits.

    Raises:
        UserError: neither a base nor both shape and tokenizer are known, or the conversion is impossible.
    """
    from convert.export_hf import Surroundings, export_hf, from_base
    from convert.known_card import known_card
    from convert.origin import base_of

    if shape is not None and tokenizer is not None:
        surroundings = Surroundings(shape, tokenizer)
    elif base := base or base_of(checkpoint):
        surroundings = from_base(base)
    else:
        raise UserError(
            f"{checkpoint}: a checkpoint says neither heads nor tokenizer; give the base model's folder with --base."
        )
    options = {"dtype": _dtype(dtype), "card": card or known_card(checkpoint, base), **_options(verify, progress)}
    return export_hf(checkpoint, out, surroundings, **options)


def convert_merge(
    out: Path,
    terms: Sequence[str],
    *,
    origin: Path | None = None,
    ema: float | None = None,
    base: Path | None = None,
    dtype: str | None,
    verify: bool,
    progress: Progress,
) -> dict[str, Any]:
    """Average, weighted sum or task arithmetic of models -> Hugging Face folder. Returns the manifest.

    Args:
        terms: MODEL or MODEL=WEIGHT; Hugging Face folders and NeMo checkpoints.
        origin: what the models come from; their differences from it are added to it, each times its weight.
        ema: decay of an exponential moving average, `terms` being oldest first.
        base: whose config and tokenizer the result has; by default the first Hugging Face folder among the models.

    Raises:
        UserError: models of different shapes, weights that make no sense together, or no config and tokenizer.
    """
    from convert.combine import Combination, parse_terms
    from convert.export_hf import from_base, write_hf_folder
    from convert.opening import is_hf_folder, open_weights
    from convert.origin import base_of

    parsed = parse_terms(terms)
    folders = [folder for folder, _ in parsed]
    weights = [1.0 if weight is None else weight for _, weight in parsed]
    weighted = any(weight is not None for _, weight in parsed)
    if ema is not None and (weighted or origin):
        raise UserError("--ema sets the weights; give it neither with weights nor with --origin.")
    candidates = [base, *filter(is_hf_folder, [*folders, *filter(None, [origin])]), *map(base_of, folders)]
    surroundings_of = next(filter(None, candidates), None)
    if surroundings_of is None:
        raise UserError(f"{out}: none of the models has config and tokenizer; give a folder that has them with --base.")
    surroundings = from_base(surroundings_of)
    models = [open_weights(folder, surroundings.shape) for folder in folders]
    if origin:
        combined = Combination.task_arithmetic(open_weights(origin, surroundings.shape), models, weights)
    elif ema is not None:
        combined = Combination.ema(models, ema)
    else:
        combined = Combination.linear(models, weights) if weighted else Combination.average(models)
    description = combined.description
    options = {"dtype": _dtype(dtype), "card": _merge_card(description), **_options(verify, progress)}
    return write_hf_folder(combined, out, surroundings, combination=description, **options)


def _merge_card(description: dict[str, Any]) -> "Card":
    """What a merge knows of itself: which folders it adds up, by their last two names, and how much of each."""
    from convert.manifest import short_place
    from convert.model_card import Card

    terms = {
        f"model {number}": f"{short_place(term['place'])} × {term['coefficient']:g}"
        for number, term in enumerate(description["terms"], 1)
    }
    method = description["method"].replace("_", " ")
    return Card(name=f"{len(terms)} Qwen3 models in one ({method})", base_model_relation="merge", provenance=terms)


def convert_average(
    out: Path, checkpoints: Sequence[Path], *, ema: float | None, optimizer: bool, progress: Progress
) -> dict[str, Any]:
    """NeMo checkpoints, oldest first -> their average as a NeMo checkpoint. Returns the manifest; see `average`."""
    from convert.average import average

    return average(checkpoints, out, decay=ema, optimizer=optimizer, progress=progress)


def _options(verify: bool, progress: Progress, allow_pickle: bool = False) -> dict[str, Any]:
    from convert.logits import same_logits

    compare = partial(same_logits, progress=progress, allow_pickle=allow_pickle) if verify else None
    return {"verify": verify, "compare": compare, "progress": progress}


def _dtype(name: str | None) -> "torch.dtype | None":
    import torch

    if name is not None and name not in _DTYPES:
        raise UserError(f"--dtype {name}: expected one of {', '.join(_DTYPES)}.")
    return getattr(torch, _DTYPES[name]) if name else None


def summary(manifest: dict[str, Any], out: Path) -> str:
    """One line for the terminal after a conversion."""
    kind = "Hugging Face model" if manifest["kind"] == "export" else "NeMo checkpoint"
    what = f"{len(manifest['tensors'])} tensors in {manifest['dtype']}, digest {manifest['digest'][:12]}"
    if manifest["kind"] == "average":
        what = f"average in {manifest['dtype']}, {'with' if manifest['optimizer'] else 'without'} optimizer state"
    done = "read back and compared" if manifest.get("read_back", True) else "not verified"
    return f"{kind} {out}: {what}, {done}{_compared(manifest.get('comparison'))}."


def _compared(comparison: dict[str, Any] | None) -> str:
    if not comparison:
        return ""
    from convert.logits import LogitReport

    return f"; {LogitReport.model_validate(comparison).sentence()}"
