"""The run lock: what a run was started with. A restart with anything else is refused, with the first difference.

What a user accepts all the same is noted in the lock's `history`: when, which field, what it was and what it is.
"""

import contextlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from recipes.artifacts import exclusive, file_digest, package_version, read_fields, write_json
from recipes.cluster import Container
from recipes.errors import UserError
from recipes.layout import RunFolder
from recipes.load import read_stated
from recipes.schema import Recipe

PACKAGES = ("torch", "nemo-toolkit", "megatron-core", "transformers", "numpy")
# The base is known by its digest, wherever it lies. The layout changes sums by rounding only; the rest, no step at all.
LAYOUT = {
    "micro_batch_size",
    "tensor_parallel",
    "pipeline_parallel",
    "context_parallel",
    "recompute",
    "loss_chunk_tokens",
}
# Fields of the recipe that look at training, and change nothing in it. A batch that `faults` has skipped is in
# metrics.jsonl; what to do with the next one may be changed after any of them.
OBSERVING = ("checkpoint", "evaluation", "expected_tokens", "faults", "samples", "validation", "wandb")
NOT_IN_THE_WEIGHTS: dict[str, Any] = {
    "model": {"base"},
    "phases": {"__all__": LAYOUT},
    **dict.fromkeys(OBSERVING, True),
}
BARE = Container()


class _File(BaseModel):
    bytes: int
    modified: str


class _Note(BaseModel):
    field: str


class _Lock(BaseModel):
    """What is read of a lock by its type; the rest is compared as it stands there."""

    data: dict[str, str | None] = {}
    files: dict[str, dict[str, _File]] = {}
    history: list[_Note] = []


def hold_lock(
    run: RunFolder, recipe: Recipe, phases: Sequence[int], container: Container = BARE, accept: Sequence[str] = ()
) -> None:
    """Compare this start with `run.lock.json`, or write it at the first start; phases not seen before are added.

    Args:
        accept: fields that may differ from now on, as the refusal names them; `data` is all that begins with `data.`.

    Raises:
        UserError: the recipe, the tokenizer, the data of a phase, the base checkpoint or the software is not what the
            run began with; or nothing of an accepted name differs.
    """
    path = run.lock
    now = _state(run, recipe, phases, container)
    before = _written(path) if path.is_file() else {}
    for part in ("data", "files"):
        now[part] = {**before.get(part, {}), **now[part]}
    _refuse_rewritten(run, before, now)
    now["tokenizer"] = now["tokenizer"] or before.get("tokenizer")  # it need not lie where training runs
    accepted = _accepted(path, before | {"files": _same_files(run, before, now)}, now, accept) if before else []
    now["history"] = before.get("history", []) + accepted
    _refuse_unused(accept, now["history"])
    if now != before:
        write_json(path, now)


def refuse_other_recipe(run: RunFolder, recipe: Recipe) -> None:
    """Compare a recipe with the one that the run was trained with; a run without a lock was not trained yet.

    Raises:
        UserError: the first field that differs.
    """
    if not run.lock.is_file():
        return
    ours, theirs = recipe.model_dump(mode="json", exclude=NOT_IN_THE_WEIGHTS), _written(run.lock).get("recipe")
    for field, old, new in _differences(theirs, ours):
        raise UserError(
            f"{run.lock}: the run was trained with {field} = {old!r}, recipe {recipe.name} says {new!r}; give the "
            f"recipe it was trained with, and its --set."
        )


@contextlib.contextmanager
def one_at_a_time(run: RunFolder) -> Iterator[None]:
    """Refuse a second launcher on the same run: it would clean up what the first is writing.

    Held by the launching process and given back by the kernel however that ends; where the file system has no locks,
    nothing is refused.

    Raises:
        UserError: another launcher holds the run.
    """
    with exclusive(run.training / ".launcher", wait=False) as mine:
        if not mine:
            raise UserError(f"{run.root}: this run is being trained by another process; wait for its end.")
        yield


def _written(path: Path) -> dict[str, Any]:
    """The lock at `path`.

    Raises:
        UserError: it is damaged.
    """
    read_stated(_Lock, path)
    return read_fields(path)


def _state(run: RunFolder, recipe: Recipe, phases: Sequence[int], container: Container) -> dict[str, Any]:
    manifest = run.base_checkpoint / "conversion.json"
    tokenizer = Path(recipe.tokenizer.path) / "tokenizer.json"
    return {
        "recipe": recipe.model_dump(mode="json", exclude=NOT_IN_THE_WEIGHTS),
        "tokenizer": file_digest(tokenizer) if tokenizer.is_file() else None,
        "data": {str(number): _blend(run, number).get("digest") for number in phases},
        "files": {str(number): _files(run, number) for number in phases},
        "base": read_fields(manifest).get("digest") if manifest.is_file() else None,
        "software": _image(Path(container.image)) if container.image else _packages(),
    }


def _blend(run: RunFolder, number: int) -> dict[str, Any]:
    return read_fields(run.phase(number) / "blend.json")


def _files(run: RunFolder, number: int) -> dict[str, dict[str, Any]]:
    """What a phase reads by size and time: a digest of all shards at every start would take hours."""
    names = [f"{prefix}{suffix}" for prefix in _blend(run, number)["prefixes"] for suffix in (".bin", ".idx")]
    return {name: _size_and_time(run.phase(number) / name) for name in names}


def _size_and_time(path: Path) -> dict[str, Any]:
    stat = path.stat()
    return {"bytes": stat.st_size, "modified": datetime.fromtimestamp(stat.st_mtime, UTC).isoformat()}


def _same_files(run: RunFolder, before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """The files of `before`; one that has another time is the same if its digest is that of the mixture: it is read."""

    def entry(number: str, name: str, known: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = now["files"][number].get(name, known)
        if found == known or found["bytes"] != known["bytes"]:
            return known
        digest = _stated_digest(_blend(run, int(number)), name)
        return found if digest == file_digest(run.phase(int(number)) / name) else known

    return {
        number: {name: entry(number, name, known) for name, known in files.items()}
        for number, files in before.get("files", {}).items()
    }


def _refuse_rewritten(run: RunFolder, before: dict[str, Any], now: dict[str, Any]) -> None:
    """A file that the lock has not seen yet, and that is younger than its receipt, must be what was stated: it is read.

    Raises:
        UserError: it is not.
    """
    for number, files in now["files"].items():
        for name in files.keys() - before.get("files", {}).get(number, {}).keys():
            path = run.phase(int(number)) / name
            stated = _stated_digest(_blend(run, int(number)), name)
            if stated and _is_younger_than_receipt(path.resolve()) and file_digest(path) != stated:
                raise UserError(f"{path}: it was written again since its receipt, with other content; build it again.")


def _is_younger_than_receipt(path: Path) -> bool:
    receipts = (path.parent / name for name in ("receipt.json", "manifest.json"))  # of a shard, of a phase
    written = path.stat().st_mtime_ns
    return any(receipt.is_file() and written > receipt.stat().st_mtime_ns for receipt in receipts)


def _stated_digest(blend: dict[str, Any], name: str) -> str | None:
    """The sha256 of a phase's file in its blend.json: of a slice's own, or of the shard that a .bin is a link to."""
    shards: dict[str, str] = blend.get("shards", {}).get(Path(name).stem, {})
    whole = next((sha for shard, sha in shards.items() if shard.endswith(".bin")), None)
    digest: str | None = blend.get("slices", {}).get(name, whole if name.endswith(".bin") else None)
    return digest


def _packages() -> dict[str, str | None]:
    return {name: package_version(name) for name in PACKAGES}


def _image(path: Path) -> dict[str, Any]:
    """A container image by size and time: a digest of its gigabytes would take minutes."""
    stat = path.stat()
    return {"image": path.name, "bytes": stat.st_size, "modified": int(stat.st_mtime)}


def _accepted(path: Path, before: dict[str, Any], now: dict[str, Any], accept: Sequence[str]) -> list[dict[str, Any]]:
    """The differences that `accept` names, as notes for the history; any other is refused."""
    time, notes = datetime.now(UTC).isoformat(timespec="seconds"), []
    for field, old, new in _differences({**before, "history": None}, {**now, "history": None}):
        if old is None and field.partition(".")[0] in ("data", "files", "tokenizer"):
            continue  # seen for the first time
        if not any(_covers(name, field) for name in accept):
            raise UserError(
                f"{path}: this run was started with {field} = {old!r}, now it is {new!r}; go back to that, start a run "
                f"of its own with another --run folder, or take it on with --accept-change {field}."
            )
        notes.append({"accepted": time, "field": field, "before": old, "now": new})
    return notes


def _differences(before: Any, now: Any) -> Iterator[tuple[str, Any, Any]]:
    """Field, its value before and now, of all that is not the same, sorted; None for what is not there."""
    old, new = dict(_leaves(before)), dict(_leaves(now))
    for field in sorted(old.keys() | new.keys()):
        if old.get(field) != new.get(field):
            yield field, old.get(field), new.get(field)


def _refuse_unused(accept: Sequence[str], history: list[dict[str, Any]]) -> None:
    """A name that was accepted at an earlier start may be given again: a job that is requeued repeats itself."""
    for name in accept:
        if not any(_covers(name, note["field"]) for note in history):
            raise UserError(f"--accept-change {name}: nothing of that name has changed in this run; leave it out.")


def _covers(name: str, field: str) -> bool:
    return field == name or field.startswith(f"{name}.")


def _leaves(content: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted path and value of everything inside nested mappings and lists."""
    if isinstance(content, dict) and content:
        for key, value in content.items():
            yield from _leaves(value, f"{prefix}{key}.")
    elif isinstance(content, list) and content:
        for number, value in enumerate(content, 1):
            yield from _leaves(value, f"{prefix}{number}.")
    else:
        yield prefix.removesuffix("."), content
