"""Where a checkpoint comes from: the run that it lies in, and what that run was locked to."""

import re
from pathlib import Path
from typing import Any

from recipes.artifacts import digest, file_digest, read_json
from recipes.layout import RunFolder

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
    base = Path(read_json(manifest)["source"])
    return base if (base / "config.json").is_file() else None


def origin(checkpoint: Path) -> dict[str, Any] | None:
    """Phase, digest of the recipe, of the phase's data and of the run lock; None outside a locked run."""
    run = run_of(checkpoint)
    if run is None or not run[0].lock.is_file():
        return None
    folder, phase = run
    lock = read_json(folder.lock)
    return {
        "phase": phase,
        "recipe": digest(lock.get("recipe")),
        "data": lock.get("data", {}).get(str(phase)),
        "base": lock.get("base"),
        "run_lock": file_digest(folder.lock),
    }
