"""Read recipe and cluster files: by shipped name or by path, with `--set a.b=c` overrides, errors as sentences."""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from recipes.artifacts import read_fields
from recipes.cluster import Cluster
from recipes.errors import UserError
from recipes.schema import Recipe

SHIPPED = Path(__file__).parent
Schema = TypeVar("Schema", bound=BaseModel)


def load_recipe(name_or_path: str, overrides: Sequence[str] = ()) -> Recipe:
    """A recipe by shipped name (`qwen3_tiny`) or path (`my/recipe.yaml`).

    Raises:
        UserError: it does not exist, is not YAML, or breaks the schema; the sentence names the field.
    """
    return _load(Recipe, "recipe", name_or_path, SHIPPED, overrides)


def load_cluster(name_or_path: str, overrides: Sequence[str] = ()) -> Cluster:
    """A cluster by shipped name (`local`, `mn5`) or path. Raises UserError as `load_recipe` does."""
    return _load(Cluster, "cluster", name_or_path, SHIPPED / "clusters", overrides)


def shipped_names(folder: Path = SHIPPED) -> list[str]:
    """Names of the YAML files that ship in `folder`."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def phase_number(recipe: Recipe, text: str) -> int:
    """Turn a user's `--phase` (a number from 1, or a phase name) into a number.

    Raises:
        UserError: the recipe has no such phase.
    """
    names = [phase.name for phase in recipe.phases]
    if text in names:
        return names.index(text) + 1
    if text.isdecimal() and 1 <= int(text) <= len(names):
        return int(text)
    listed = ", ".join(f"{number} ({name})" for number, name in enumerate(names, 1))
    raise UserError(f"recipe {recipe.name} has no phase {text!r}; it has {listed}.")


def phase_numbers(recipe: Recipe, text: str | None) -> list[int]:
    """Turn a user's `--phases` (numbers or names with commas; None for all) into numbers in order; raises as above."""
    names = text.split(",") if text else [phase.name for phase in recipe.phases]
    return sorted(phase_number(recipe, name) for name in names)


def read_yaml(path: Path, kind: str) -> dict[str, Any]:
    """Read one YAML mapping.

    Raises:
        UserError: unreadable, not YAML, or not a mapping.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{kind} file {path} cannot be read ({error}).") from error
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f", line {where.line + 1}" if where else ""
        raise UserError(f"{kind} file {path}{line}: not valid YAML ({getattr(error, 'problem', error)}).") from error
    if not isinstance(content, dict):
        raise UserError(f"{kind} file {path}: expected a mapping of fields, found {type(content).__name__}.")
    return content


def validate(schema: type[Schema], content: dict[str, Any], place: str) -> Schema:
    """Check `content` against `schema`.

    Raises:
        UserError: the first violation, with the dotted field and, for an unknown key, the nearest known one.
    """
    try:
        return schema.model_validate(content)
    except ValidationError as error:
        raise UserError(f"{place}: {_sentence(schema, error)}") from error


def read_stated(schema: type[Schema], path: Path) -> Schema:
    """What a JSON file of ours states, as far as `schema` asks.

    Raises:
        UserError: the file is missing or damaged; the sentence names the field.
    """
    return validate(schema, read_fields(path), f"{path}: the file is damaged, restore it")


def _load(schema: type[Schema], kind: str, name_or_path: str, folder: Path, overrides: Sequence[str]) -> Schema:
    path = Path(name_or_path)
    if path.suffix not in {".yaml", ".yml"}:
        path = folder / f"{name_or_path}.yaml"
        if not path.is_file():
            raise UserError(f"unknown {kind} {name_or_path!r}{_nearest(name_or_path, shipped_names(folder))}.")
    try:
        content = _unshared(read_yaml(path, kind))
    except RecursionError as error:
        raise UserError(f"{kind} file {path}: an alias (`*name`) contains itself; write the value out.") from error
    for override in overrides:
        _apply(content, override)
    return validate(schema, content, f"{kind} {path.name}")


def _unshared(value: Any) -> Any:
    """A copy in which YAML's aliases (`*phase`) are values of their own, so that an override changes one place."""
    if isinstance(value, dict):
        return {key: _unshared(item) for key, item in value.items()}
    return [_unshared(item) for item in value] if isinstance(value, list) else value


def _apply(content: dict[str, Any], override: str) -> None:
    """Apply one `a.b=c`; list items are named by their `name` or by number from 1, as phases are."""
    dotted, equals, text = override.partition("=")
    keys = dotted.split(".")
    if not equals or not all(keys):
        raise UserError(f"--set {override!r}: expected FIELD=VALUE, for example --set phases.1.token_budget=100000.")
    target: Any = content
    for key in keys[:-1]:
        target = _descend(target, key, override)
    if not isinstance(target, dict):
        raise UserError(f"--set {override!r}: {'.'.join(keys[:-1])} is not a mapping.")
    try:
        target[keys[-1]] = _scalar(text)
    except yaml.YAMLError as error:
        raise UserError(f"--set {override!r}: the value is not valid YAML; put it in quotes.") from error


def _descend(target: Any, key: str, override: str) -> Any:
    if isinstance(target, list):
        for number, item in enumerate(target, 1):
            if key in {str(number), item.get("name") if isinstance(item, dict) else None}:
                return item
        raise UserError(f"--set {override!r}: there is no item {key!r} in a list of {len(target)}.")
    if isinstance(target, dict):
        if not isinstance(target.get(key), dict | list):
            target[key] = {}
        return target[key]
    raise UserError(f"--set {override!r}: {key!r} does not lead to a mapping.")


def _scalar(text: str) -> Any:
    """YAML 1.1 reads `1e6` as a string; a number is meant."""
    value = yaml.safe_load(text)
    if isinstance(value, str):
        try:
            number = float(value)
        except ValueError:
            return value
        return int(number) if number.is_integer() else number
    return value


def _sentence(schema: type[BaseModel], error: ValidationError) -> str:
    first = error.errors()[0]
    field = ".".join(str(part + 1) if isinstance(part, int) else str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        known = _fields_at(schema, first["loc"][:-1])
        return f"unknown field `{field}`{_nearest(str(first['loc'][-1]), known)}."
    if first["type"] == "missing":
        return f"the field `{field}` is missing."
    message = first["msg"].removeprefix("Value error, ")
    if not field:
        return f"{message}."
    found = "" if isinstance(first["input"], dict | list) else f", found {first['input']!r}"
    return f"field `{field}`: {message}{found}."


def _fields_at(schema: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """The field names that are known at `location` inside `schema`."""
    properties = schema.model_json_schema()
    definitions = properties.get("$defs", {})
    node = properties
    for part in location:
        node = node.get("items", {}) if isinstance(part, int) else node.get("properties", {}).get(part, {})
        for option in [node, *node.get("anyOf", []), *node.get("allOf", [])]:
            if "$ref" in option:
                node = definitions[option["$ref"].rsplit("/", 1)[-1]]
                break
    return list(node.get("properties", {}))


def _nearest(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f", did you mean {close[0]!r}"
    return f", known are: {', '.join(known)}" if known else ""
