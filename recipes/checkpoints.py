"""Which checkpoints of a run are whole, and where a phase starts. No torch: answers in milliseconds.

A checkpoint is the folder `training/phase_<n>/iteration_<i>`, with `weights/` and, in the last one of a phase,
`context/`. While NeMo writes it, an empty file `iteration_<i>-unfinished` lies beside it; what a killed process left
there is never used and removed at the next start.
"""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from recipes.blend import load_blend
from recipes.errors import UserError
from recipes.layout import RunFolder
from recipes.schema import Recipe

NAME = "iteration_{:07d}"
UNFINISHED = "-unfinished"  # nemo.lightning.pytorch.callbacks.ModelCheckpoint.UNFINISHED_CHECKPOINT_SUFFIX
_PATTERN = re.compile(r"iteration_(\d{7,})$")
_REMOVED = ".removed"


def is_whole(checkpoint: Path) -> bool:
    """True if `checkpoint` is a NeMo checkpoint that was written to its end."""
    marker = checkpoint.with_name(checkpoint.name + UNFINISHED)
    return (checkpoint / "weights" / "metadata.json").is_file() and not marker.exists()


def whole_checkpoints(folder: Path) -> list[tuple[int, Path]]:
    """(iteration, folder) of every whole checkpoint in a phase's folder, oldest first."""
    found = [(_PATTERN.match(path.name), path) for path in folder.glob("iteration_*")]
    return sorted((int(match[1]), path) for match, path in found if match and is_whole(path))


def latest_checkpoint(run: RunFolder, phase: int) -> tuple[int, Path] | None:
    """The newest whole checkpoint of a phase with its iteration, or None."""
    checkpoints = whole_checkpoints(run.checkpoints(phase))
    return checkpoints[-1] if checkpoints else None


def final_checkpoint(run: RunFolder, phase: int) -> Path | None:
    """The checkpoint at the end of a phase, or None if the phase is not finished."""
    latest = latest_checkpoint(run, phase)
    if latest is None or not (run.phase(phase) / "blend.json").is_file():
        return None
    iteration, path = latest
    return path if iteration == load_blend(run, phase).iterations else None


def remove_leftovers(folder: Path) -> None:
    """Remove what killed processes left in a phase's folder: half-written and half-removed checkpoints."""
    for path in folder.glob("iteration_*"):
        if _PATTERN.match(path.name) and not is_whole(path):
            shutil.rmtree(path)
    for marker in folder.glob(f"iteration_*{UNFINISHED}"):
        marker.unlink()
    for path in folder.glob(f"*{_REMOVED}"):
        shutil.rmtree(path)


def prune(folder: Path, keep_last: int) -> None:
    """Remove all but the newest `keep_last` whole checkpoints; renamed first, so that none is ever half there."""
    for _, path in whole_checkpoints(folder)[:-keep_last]:
        shutil.rmtree(path.rename(path.with_name(path.name + _REMOVED)))


@dataclass(frozen=True)
class Start:
    """Where a phase starts: from its own checkpoint, from earlier weights, or from random weights (`path` None)."""

    path: Path | None
    iteration: int = 0  # done already in this phase
    optimizer: bool = False  # from earlier weights: take the optimizer's moments along


def find_start(recipe: Recipe, run: RunFolder, phase: int) -> Start:
    """The newest whole checkpoint of this phase; else the end of the phase before; else the base model.

    Raises:
        UserError: none of them is there.
    """
    latest = latest_checkpoint(run, phase)
    if latest:
        return Start(latest[1], iteration=latest[0])
    if phase > 1:
        previous = final_checkpoint(run, phase - 1)
        if previous is None:
            raise UserError(f"phase {phase - 1} is not finished in {run.root}; train it before phase {phase}.")
        return Start(previous, optimizer=recipe.phase(phase).optimizer_state == "carry")
    if recipe.model.init == "random":
        return Start(None)
    if not (run.base_checkpoint / "weights" / "metadata.json").is_file():
        raise UserError(
            f"{run.base_checkpoint}: there is no base checkpoint; import {recipe.model.base} with "
            f"`cpt convert import {recipe.model.base} {run.base_checkpoint}`."
        )
    return Start(run.base_checkpoint)
