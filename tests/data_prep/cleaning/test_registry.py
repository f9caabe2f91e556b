"""Steps and presets by name."""

from pathlib import Path
from typing import Any

import pytest
import yaml

import data_prep.cleaning
from data_prep.cleaning.length import Length
from data_prep.cleaning.registry import parse_steps, preset, preset_names, step_names
from data_prep.cleaning.unicode import Unicode


def test_a_preset_or_a_list() -> None:
    assert parse_steps("basic") == preset("basic") == (Unicode(), Length(minimum_characters=1))
    assert parse_steps([]) == ()
    listed = yaml.safe_load("[unicode, length: {minimum_characters: 200}, length: ]")
    assert parse_steps(listed) == (Unicode(), Length(minimum_characters=200), Length())


@pytest.mark.parametrize("name", step_names())
def test_every_step_is_found_by_its_name(name: str) -> None:
    (step,) = parse_steps([name])
    assert step.name == name
    assert (Path(data_prep.cleaning.__file__).parent / f"{name}.py").is_file()


def test_presets_are_ready_for_turkish() -> None:
    assert preset_names() == ["basic", "turkish_legal", "ocr_theses", "web"]
    for name in preset_names():
        assert all(callable(step.ready("tr")) for step in preset(name))


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("turkish_legl", "unknown preset 'turkish_legl', did you mean 'turkish_legal'"),
        (["lenght"], "unknown cleaning step 'lenght', did you mean 'length'"),
        (["xyz"], "unknown cleaning step 'xyz', known are: unicode, length"),
        (["web"], "'web' is a preset and stands alone: write `cleaning: web`"),
        (
            [{"length": {"minimum_character": 1}}],
            "unknown field `minimum_character`, did you mean 'minimum_characters'",
        ),
        (
            [{"length": {"minimum_characters": -1}}],
            "field `minimum_characters`: Input should be greater than or equal to 0",
        ),
        ([{"length": {"minimum_characters": 9, "maximum_characters": 3}}], "no document would be left"),
        ([{"length": 3}], "cleaning step length: expected `{option: value}`, found 3"),
        ([{"length": {}, "unicode": {}}], "expected the name of a step"),
        ([3], "expected the name of a step, or `name: {option: value}`, found 3"),
        (7, "expected the name of a preset, or a list of steps"),
    ],
)
def test_what_is_wrong_is_named(value: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]*$") as error:
        parse_steps(value)
    assert sentence in str(error.value)
    assert not str(error.value).endswith(".")
