"""Which checkpoints of a run are whole, and where a phase starts. No torch: answers in milliseconds.

A checkpoint is the folder `training/phase_<n>/iteration_<i>`, with `weights/`, in the last one of a phase `context/`,
where it was validated `validation.json`, and `digests.json`, the size and XXH3-128 of every other file. It is written
as `iteration_<i>-attempt_<number>` and renamed when it is whole; where the best by validation are kept, the link `best`
names the first of them. What a killed process left under such a name is never used and removed at the next start; a
checkpoint whose files have changed since is set aside as `iteration_<i>.damaged`.
"""

import contextlib
import math
import re
import shutil
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from recipes.artifacts import explained_disk_errors, finite, read_json, write_json
from recipes.blend import load_blend
from recipes.errors import UserError
from recipes.file_digests import FileDigest, first_difference, measure, share
from recipes.layout import RunFolder
from recipes.schema import Checkpoint, Recipe

NAME = "iteration_{:07d}"
DIGESTS, VALIDATION, BEST = "digests.json", "validation.json", "best"
UNFINISHED = "-unfinished"  # nemo.lightning.pytorch.callbacks.ModelCheckpoint.UNFINISHED_CHECKPOINT_SUFFIX
_PATTERN = re.compile(r"iteration_(\d{7,})$")
_WRITER = re.compile(r"__(\d+)_\d+\.distcp$")  # megatron/core/…/filesystem_async.py, prepare_decentralized_global_plan
_REMOVED, _DAMAGED = ".removed", ".damaged"


def is_whole(checkpoint: Path) -> bool:
    """True if `checkpoint` was written to its end, by this project or by NeMo, whose marker stays beside a half one."""
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


def writing_name(checkpoint: Path, attempt: int) -> Path:
    """Where `checkpoint` is written before it is published; another start of the run writes elsewhere."""
    return checkpoint.with_name(f"{checkpoint.name}-attempt_{attempt}")


def digests_of_rank(checkpoint: Path, rank: int) -> dict[str, FileDigest]:
    """Digests of the files that `rank` has written; those that are no rank's alone are of rank 0."""
    files = (path for path in checkpoint.rglob("*") if path.is_file())
    return {str(path.relative_to(checkpoint)): measure(path) for path in files if _writer(path.name) == rank}


def _writer(name: str) -> int:
    match = _WRITER.search(name)
    return int(match[1]) if match else 0


def publish(written: Path, checkpoint: Path, digests: Iterable[dict[str, FileDigest]]) -> None:
    """Make what lies under its writing name a checkpoint; an older one of the same name gives way."""
    write_digests(written, digests)
    _remove(checkpoint)
    written.rename(checkpoint)


def write_digests(checkpoint: Path, digests: Iterable[dict[str, FileDigest]]) -> None:
    """Write `digests.json`, last of all files, from what every rank measured."""
    entries = sorted((name, digest) for one in digests for name, digest in one.items())
    write_json(checkpoint / DIGESTS, {name: digest._asdict() for name, digest in entries})


def find_damage(checkpoint: Path, rank: int = 0, ranks: int = 1, read: bool = True) -> str | None:
    """What is wrong with the files of a checkpoint, or None; one of `ranks` looks at its share, and may `read` it."""
    try:
        digests = {name: FileDigest(**entry) for name, entry in read_json(checkpoint / DIGESTS).items()}
    except (UserError, TypeError, AttributeError):
        return f"{DIGESTS} is missing or unreadable"
    return first_difference(checkpoint, digests, share(digests, rank, ranks), read)


def set_aside(checkpoint: Path) -> Path:
    """Rename a damaged checkpoint, so that it is not used and may be looked at; returns its new place."""
    aside = checkpoint.with_name(checkpoint.name + _DAMAGED)
    with explained_disk_errors(aside):
        _remove(aside)
        return checkpoint.rename(aside)


def remove_leftovers(folder: Path) -> None:
    """Remove what killed processes left in a phase's folder: half-written and half-removed checkpoints."""
    for path in folder.glob("iteration_*"):
        if path.name.endswith(UNFINISHED):
            continue  # the marker goes after what it marks
        if not path.name.endswith(_DAMAGED) and not (_PATTERN.match(path.name) and is_whole(path)):
            _remove(path)
    for marker in folder.glob(f"iteration_*{UNFINISHED}"):
        _remove(marker)


def note_validation(written: Path, mean: float, domains: Mapping[str, float]) -> None:
    """Put the validation loss of a checkpoint into it, before its digests are taken. Nats per token."""
    write_json(
        written / VALIDATION, {"mean": finite(mean), "domains": {name: finite(x) for name, x in domains.items()}}
    )


def validation_loss(checkpoint: Path, by: str | None = None) -> float:
    """The validation loss of a checkpoint, of domain `by` or the mean over all tokens; infinity where there is none."""
    try:
        losses = read_json(checkpoint / VALIDATION)
        loss = float(losses["domains"][by] if by else losses["mean"])
    except (UserError, KeyError, TypeError, ValueError):
        return math.inf
    return loss


def best_checkpoints(folder: Path, by: str | None = None) -> list[Path]:
    """The validated checkpoints of a phase's folder, best first; of equal ones the newer."""
    losses = [(validation_loss(path, by), -iteration, path) for iteration, path in whole_checkpoints(folder)]
    return [path for loss, _, path in sorted(losses) if loss < math.inf]


def prune(folder: Path, policy: Checkpoint) -> None:
    """Remove the whole checkpoints that `policy` lets go; `best` becomes a link to the best that it keeps for good."""
    best = best_checkpoints(folder, policy.best_by)[: policy.keep_best]
    if best:
        _link(folder / BEST, best[0].name)
    every = policy.keep_every_iterations
    for iteration, path in whole_checkpoints(folder)[: -policy.keep_last]:
        if (every is None or iteration % every) and path not in best:
            _remove(path)


def _link(link: Path, target: str) -> None:
    partial = link.with_name(f"{link.name}.partial")
    partial.unlink(missing_ok=True)
    partial.symlink_to(target)
    partial.replace(link)


def _remove(path: Path) -> None:
    """Remove a folder, renamed first, so that no checkpoint is ever half there, or a file; it may be gone already.

    Where a process that is about to die still writes into it, a part may stay until the next start.
    """
    with contextlib.suppress(FileNotFoundError):
        if not path.is_dir():
            path.unlink()
            return
        if not path.name.endswith(_REMOVED):
            path = path.rename(path.with_name(f"{path.name}-{time.time_ns()}{_REMOVED}"))
        shutil.rmtree(path, ignore_errors=True)


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
