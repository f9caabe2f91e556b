"""The run lock: what a run was started with. A restart with anything else is refused, with the first difference."""

import importlib.metadata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from recipes.artifacts import read_json, write_json
from recipes.errors import UserError
from recipes.layout import RunFolder
from recipes.schema import Recipe

KEY_PACKAGES = ("torch", "nemo-toolkit", "megatron-core", "transformers", "numpy")


def hold_lock(run: RunFolder, recipe: Recipe, phases: Sequence[int]) -> None:
    """Compare this start with `run.lock.json`, or write it at the first start; phases not seen before are added.

    Raises:
        UserError: the recipe, the data of a phase, the base checkpoint or a key package is not what the run began with.
    """
    path = run.root / "run.lock.json"
    now = _state(run, recipe, phases)
    if path.is_file():
        before = read_json(path)
        now["data"] = {**before.get("data", {}), **now["data"]}
        _refuse_difference(path, before, now)
    write_json(path, now)


def _state(run: RunFolder, recipe: Recipe, phases: Sequence[int]) -> dict[str, Any]:
    data = {str(number): read_json(run.phase(number) / "blend.json").get("digest") for number in phases}
    manifest = run.base_checkpoint / "conversion.json"
    return {
        "recipe": recipe.model_dump(mode="json"),
        "data": data,
        "base": read_json(manifest).get("digest") if manifest.is_file() else None,
        "packages": {name: _version(name) for name in KEY_PACKAGES},
    }


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
