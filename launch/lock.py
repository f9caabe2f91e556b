"""The run lock: what a run was started with. A restart with anything else is refused, with the first difference."""

import contextlib
import importlib.metadata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from recipes.artifacts import exclusive, read_json, write_json
from recipes.cluster import Container
from recipes.errors import UserError
from recipes.layout import RunFolder
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
NOT_IN_THE_WEIGHTS: dict[str, Any] = {
    "model": {"base"},
    "phases": {"__all__": LAYOUT},
    "checkpoint": True,
    "evaluation": True,
    "expected_tokens": True,
}
BARE = Container()


def hold_lock(run: RunFolder, recipe: Recipe, phases: Sequence[int], container: Container = BARE) -> None:
    """Compare this start with `run.lock.json`, or write it at the first start; phases not seen before are added.

    Raises:
        UserError: the recipe, the data of a phase, the base checkpoint or the software is not what the run began with.
    """
    path = run.lock
    now = _state(run, recipe, phases, container)
    before = read_json(path) if path.is_file() else None
    if before:
        now["data"] = {**before.get("data", {}), **now["data"]}
        _refuse_difference(path, before, now)
    if now != before:
        write_json(path, now)


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


def _state(run: RunFolder, recipe: Recipe, phases: Sequence[int], container: Container) -> dict[str, Any]:
    data = {str(number): read_json(run.phase(number) / "blend.json").get("digest") for number in phases}
    manifest = run.base_checkpoint / "conversion.json"
    return {
        "recipe": recipe.model_dump(mode="json", exclude=NOT_IN_THE_WEIGHTS),
        "data": data,
        "base": read_json(manifest).get("digest") if manifest.is_file() else None,
        "software": _image(Path(container.image)) if container.image else {name: _version(name) for name in PACKAGES},
    }


def _image(path: Path) -> dict[str, Any]:
    """A container image by size and time: a digest of its gigabytes would take minutes."""
    stat = path.stat()
    return {"image": path.name, "bytes": stat.st_size, "modified": int(stat.st_mtime)}


def _refuse_difference(path: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    old, new = dict(_leaves(before)), dict(_leaves(now))
    for field in sorted(old.keys() | new.keys()):
        first_seen = field.startswith("data.") and field not in old
        if old.get(field) != new.get(field) and not first_seen:
            raise UserError(
                f"{path}: this run was started with {field} = {old.get(field)!r}, now it is {new.get(field)!r}; "
                f"go back to that, or start a run of its own with another --run folder."
            )


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


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
