"""What a path names: which folders and datasets are to be verified."""

from pathlib import Path
from typing import NamedTuple

from data_prep.indexed import data_file, index_file
from data_prep.phase_folder import BLEND, MANIFEST
from data_prep.shard_receipts import RECEIPT
from recipes.errors import UserError
from recipes.layout import RunFolder


class Target(NamedTuple):
    """What is verified, each with what it stands on: a phase with the sources that it reads."""

    sources: tuple[Path, ...] = ()  # folders
    heldout: Path | None = None  # folder
    plan: Path | None = None  # file
    phases: tuple[Path, ...] = ()  # folders
    datasets: tuple[Path, ...] = ()  # prefixes, without a receipt
    parents: tuple[Path, ...] = ()  # folders where a killed build may have left something


def find_target(path: Path) -> Target:
    """What lies at the absolute `path`; a file is verified with the folder that vouches for it.

    Raises:
        UserError: nothing that can be verified.
    """
    target = _in_folder(path) if path.is_dir() else _of_file(path)
    if not any(target._replace(parents=())):
        raise UserError(
            f"{path}: expected a run folder, its shards, heldout or phases, one of those in them, or a dataset's .bin, "
            f".idx or prefix; give one of these."
        )
    return target


def _in_folder(path: Path) -> Target:
    run, parent = RunFolder(path), RunFolder(path.parent)
    above = RunFolder(path.parent.parent)
    if run.shards.is_dir() or _phases(run).is_dir():
        heldout = run.heldout if run.shards.is_dir() or run.heldout.is_dir() else None
        parents = (path, run.shards, run.heldout, _phases(run))
        plan = run.plan if run.plan.is_file() else None
        return Target(_folders(run.shards), heldout, plan, _folders(_phases(run)), parents=parents)
    if path == parent.shards:
        return Target(_folders(path), parents=(path,))
    if path == parent.heldout:
        return Target(heldout=path, parents=(path,))
    if path == _phases(parent):
        return Target(phases=_folders(path), parents=(path,))
    if path.parent == _phases(above) or (path / BLEND).is_file() or (path / MANIFEST).is_file():
        return Target(phases=(path,))
    if path.parent == above.shards or (path / RECEIPT).is_file():
        return Target(sources=(path,))
    found = {file.with_suffix("") for file in path.iterdir() if file.suffix in (".bin", ".idx")}
    return Target(datasets=tuple(sorted(found)))


def _of_file(path: Path) -> Target:
    prefix = path.with_suffix("") if path.suffix in (".bin", ".idx") else path
    pair = any(file.is_symlink() or file.exists() for file in (index_file(prefix), data_file(prefix)))
    vouched = any((path.parent / name).is_file() for name in (RECEIPT, BLEND, MANIFEST))
    if vouched and (pair or path.is_file()):
        return _in_folder(path.parent)
    return Target(datasets=(prefix,)) if pair else Target()


def _phases(run: RunFolder) -> Path:
    return run.phase(1).parent


def _folders(path: Path) -> tuple[Path, ...]:
    """The folders in `path` that a finished build named."""
    if not path.is_dir():
        return ()
    return tuple(sorted(folder for folder in path.iterdir() if folder.is_dir() and not folder.name.startswith(".")))
