"""The schedulers that train give the planned rates, and these are NeMo's own where it has the schedule."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from tiny_run import ROOT, tiny_recipe

from recipes.load import load_recipe
from recipes.schedule import learning_rate

pytestmark = pytest.mark.long

WARM = {"max_lr": 0.01, "min_lr": 0.001, "warmup_fraction": 0.2}
SCHEDULES: dict[str, list[dict[str, Any]]] = {
    "cosine": [{"kind": "cosine", **WARM}],
    "no_warmup": [{"kind": "cosine", "max_lr": 3e-4}],
    "constant": [{"kind": "constant", **WARM}],
    "wsd": [{"kind": "wsd", **WARM, "min_lr": 0.0, "decay_fraction": 0.3}],  # NeMo cuts off at min_lr, ours goes there
    "continued": [{"kind": "cosine", **WARM}, {"kind": "continue"}, {"kind": "continue"}],
}
ITERATIONS = 40  # of every phase
LONG = {"warmup_steps": 8, "min_lr": 0.001, "max_lr": 0.01}
HOLD = {
    "warmup_ratio": 0.2,
    "hold_ratio": 0.5,
    "decay_schedule": "one_minus_square_root",
    "min_lr": 0.0,
    "max_lr": 0.01,
}
NEMO: dict[str, tuple[str, dict[str, Any]]] = {  # the same, said to NeMo's own classes
    "cosine": ("CosineAnnealingScheduler", {**LONG, "constant_steps": 0, "max_steps": 40}),
    "no_warmup": (
        "CosineAnnealingScheduler",
        {"warmup_steps": 0, "min_lr": 0.0, "max_lr": 3e-4, "constant_steps": 0, "max_steps": 40},
    ),
    "constant": ("WarmupPolicyScheduler", {**LONG, "max_steps": 40}),
    "wsd": ("WarmupHoldAnnealScheduler", {**HOLD, "max_steps": 40}),
    "continued": ("CosineAnnealingScheduler", {**LONG, "constant_steps": 0, "max_steps": 120}),
}


@pytest.fixture(scope="module")
def rates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[list[float]]]:
    folder = tmp_path_factory.mktemp("recipes")
    asked = {
        "ours": [
            [str(_recipe(folder, name)), number, ITERATIONS]
            for name, schedules in SCHEDULES.items()
            for number in range(1, len(schedules) + 1)
        ],
        "nemo": list(NEMO.values()),
    }
    command = [sys.executable, str(Path(__file__).with_name("step_schedules.py")), json.dumps(asked)]
    answer = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}, timeout=300
    )
    assert answer.returncode == 0, answer.stderr
    found = json.loads(answer.stdout.splitlines()[-1])
    found["planned"] = [
        [learning_rate(load_recipe(path), number, iteration) for iteration in range(ITERATIONS)]
        for path, number, _ in asked["ours"]
    ]
    return found


def test_the_scheduler_gives_the_planned_rates(rates: dict[str, list[list[float]]]) -> None:
    assert rates["ours"] == rates["planned"]


def test_a_resumed_scheduler_gives_the_rest_of_them(rates: dict[str, list[list[float]]]) -> None:
    assert rates["resumed"] == [planned[ITERATIONS // 2 :] for planned in rates["planned"]]


@pytest.mark.parametrize("name", NEMO)
def test_they_are_those_of_nemo(rates: dict[str, list[list[float]]], name: str) -> None:
    first = sum(len(schedules) for schedules in list(SCHEDULES.values())[: list(SCHEDULES).index(name)])
    planned = [rate for phase in rates["planned"][first : first + len(SCHEDULES[name])] for rate in phase]
    assert planned == rates["nemo"][list(NEMO).index(name)]


def _recipe(folder: Path, name: str) -> Path:
    path = folder / f"{name}.yaml"
    content = yaml.safe_load(tiny_recipe(path, iterations=ITERATIONS, phases=len(SCHEDULES[name])).read_text())
    for phase, schedule in zip(content["phases"], SCHEDULES[name], strict=True):
        phase["schedule"] = schedule
    path.write_text(yaml.safe_dump(content))
    return path
