"""Cleaning as a corpus file asks for it: a preset by name, or a list of steps with their options."""

import difflib
import importlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from data_prep.cleaning.step import Step
from recipes.errors import UserError
from recipes.load import read_yaml, validate

PRESETS = Path(__file__).parent / "presets.yaml"
_NAMES = (  # each the name of a step and of the module beside this one that defines it
    "unicode",
    "length",
    "running_lines",
    "contents",
    "hyphenation",
    "broken_lines",
    "bibliography",
    "privacy",
    "language",
    "repetition",
    "quality",
    "morphology",
)


def step_names() -> list[str]:
    """The names of all steps."""
    return list(_NAMES)


def preset_names() -> list[str]:
    """The names of all presets."""
    return list(_presets())


def preset(name: str) -> tuple[Step, ...]:
    """The steps of a preset.

    Raises:
        ValueError: there is no such preset.
    """
    presets = _presets()
    if name not in presets:
        raise ValueError(f"unknown preset {name!r}{_nearest(name, list(presets))}")
    return _steps(presets[name])


def parse_steps(value: str | Sequence[Any]) -> tuple[Step, ...]:
    """The steps of a corpus file's `cleaning`: the name of a preset, or a list of names and of `{name: options}`.

    Raises:
        ValueError: an unknown preset, step or option, with the nearest name, or an option out of its range.
    """
    if isinstance(value, str):
        return preset(value)
    if not isinstance(value, list | tuple):
        raise ValueError("expected the name of a preset, or a list of steps")
    return _steps(value)


@cache
def _presets() -> dict[str, list[Any]]:
    return read_yaml(PRESETS, "presets")


def _steps(items: Sequence[Any]) -> tuple[Step, ...]:
    return tuple(_step(*_name_and_options(item)) for item in items)


def _name_and_options(item: Any) -> tuple[str, Any]:
    if isinstance(item, str):
        return item, None
    if isinstance(item, dict) and len(item) == 1:
        name, options = next(iter(item.items()))
        return str(name), options
    raise ValueError(f"expected the name of a step, or `name: {{option: value}}`, found {item!r}")


def _step(name: str, options: Any) -> Step:
    if name in _presets():
        raise ValueError(f"{name!r} is a preset and stands alone: write `cleaning: {name}`")
    if name not in _NAMES:
        raise ValueError(f"unknown cleaning step {name!r}{_nearest(name, _NAMES)}")
    options = {} if options is None else options
    if not isinstance(options, dict):
        raise ValueError(f"cleaning step {name}: expected `{{option: value}}`, found {options!r}")
    try:
        return validate(_step_class(name), options, f"cleaning step {name}")
    except UserError as error:
        raise ValueError(str(error).removesuffix(".")) from error


def _step_class(name: str) -> type[Step]:
    module = importlib.import_module(f"data_prep.cleaning.{name}")
    found = [value for value in vars(module).values() if isinstance(value, type) and issubclass(value, Step)]
    return next(step for step in found if step.__dict__.get("name") == name)


def _nearest(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f", did you mean {close[0]!r}" if close else f", known are: {', '.join(known)}"
