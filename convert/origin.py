"""Where a checkpoint comes from: the run that it lies in, and what that run was locked to."""

import re
from pathlib import Path
from typing import Any

from convert.hf_folder import read_config, shape_of
from recipes.artifacts import digest, file_digest, read_fields
from recipes.layout import RunFolder
from recipes.load import validate
from recipes.shape import Qwen3Shape

_PHASE = re.compile(r"phase_(\d+)$")


def run_of(checkpoint: Path) -> tuple[RunFolder, int] | None:
    """The run whose training wrote the checkpoint, and the phase; None for a checkpoint that lies elsewhere."""
    phase = _PHASE.match(checkpoint.resolve().parent.name)
    if not phase or checkpoint.resolve().parents[1].name != RunFolder(Path()).training.name:
        return None
    return RunFolder(checkpoint.resolve().parents[2]), int(phase[1])


def base_of(checkpoint: Path) -> Path | None:
    """The Hugging Face folder that the checkpoint's run started from, if the run says and the folder is there."""
    run = run_of(checkpoint)
    manifest = run[0].base_checkpoint / "conversion.json" if run else None
    if manifest is None or not manifest.is_file():
        return None
    source = read_fields(manifest).get("source")
    base = Path(source) if isinstance(source, str) else manifest.parent
    return base if (base / "config.json").is_file() else None


def stated_shape(checkpoint: Path) -> Qwen3Shape | None:
    """The shape of the model in a checkpoint: as its import noted it, or as its run was locked to; None if neither."""
    imported = checkpoint / "context" / "config.json"
    if imported.is_file():
        return shape_of(imported, read_config(imported.parent))
    run = run_of(checkpoint)
    lock = read_fields(run[0].lock) if run else {}
    recipe = lock.get("recipe")
    model = recipe.get("model") if isinstance(recipe, dict) else None
    shape = model.get("shape") if isinstance(model, dict) else None
    return validate(Qwen3Shape, shape, f"{run[0].lock}: its model.shape is damaged") if run and shape else None


def origin(model: Path) -> dict[str, Any] | None:
    """Phase, digest of the recipe, of the phase's data and of the run lock; outside a locked run what conversion.json
    notes of the one that the model was made from; None where nothing does.
    """
    run = run_of(model)
    if run is None or not run[0].lock.is_file():
        manifest = model / "conversion.json"
        noted = read_fields(manifest).get("origin") if manifest.is_file() else None
        return noted if isinstance(noted, dict) else None
    folder, phase = run
    lock = read_fields(folder.lock)
    data = lock.get("data")
    return {
        "phase": phase,
        "recipe": digest(lock.get("recipe")),
        "data": data.get(str(phase)) if isinstance(data, dict) else None,
        "base": lock.get("base"),
        "run_lock": file_digest(folder.lock),
    }
