"""Why a phase is built again: each change in the words of the recipe, and not what follows from it."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from data_prep.phase_changes import phase_changes

BUILT: dict[str, Any] = {
    "name": "legal",
    "samples": 64,
    "iterations": 8,
    "packing": "concatenate",
    "sources": {name: {"share": 0.5, "samples": 32, "minimum_document_tokens": 1} for name in ("laws", "web")},
    "start": {"laws": "beginning", "web": "beginning"},
    "shards": {"laws": {"documents.bin": "1" * 64}, "web": {"documents.bin": "2" * 64}},
    "limits": {"laws": None, "web": None},
    "seed": 1,
    "tool_version": "0.1",
}


def rebuild_web(inputs: dict[str, Any]) -> None:
    inputs["shards"]["web"] = {"documents.bin": "3" * 64}
    inputs["sources"]["web"]["share"] = 0.6


def add_math(inputs: dict[str, Any]) -> None:
    inputs["sources"]["math"] = {"share": 0.1, "samples": 6, "minimum_document_tokens": 1}
    inputs["start"]["math"] = "beginning"
    inputs["shards"]["math"] = {"documents.bin": "4" * 64}


def changed(change: Callable[[dict[str, Any]], object]) -> list[str]:
    inputs = copy.deepcopy(BUILT)
    change(inputs)
    return phase_changes(BUILT, inputs)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda inputs: inputs.update(seed=2, start={"laws": "a", "web": "b"}), ["seed (1 -> 2)"]),
        (lambda inputs: inputs.update(tool_version="0.2"), ["the version of this program (0.1 -> 0.2)"]),
        (lambda inputs: inputs.update(samples=32, iterations=4), ["token_budget, in sequences (64 -> 32)"]),
        (lambda inputs: inputs["start"].update(laws="a" * 64), ["what earlier phases read of laws"]),
        (lambda inputs: inputs["limits"].update(web=10), ["limit_tokens.web (None -> 10)"]),
        (rebuild_web, ["the shards of web", "mixture [web (0.5 -> 0.6)]"]),
        (
            lambda inputs: inputs["sources"]["laws"].update(minimum_document_tokens=900),
            ["minimum_document_tokens [laws (1 -> 900)]"],
        ),
        (lambda inputs: inputs["sources"]["laws"].update(samples=33), ["sequences [laws (32 -> 33)]"]),
        (add_math, ["mixture [math (new)]"]),
    ],
)
def test_a_change_is_said_once_and_in_words(change: Callable[[dict[str, Any]], object], said: list[str]) -> None:
    assert changed(change) == said
