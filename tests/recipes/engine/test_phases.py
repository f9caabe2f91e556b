"""Whole tiny trainings: what a phase takes from the one before, and what saves memory without changing a number."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from tiny_run import ROOT, metrics, tiny_data, tiny_recipe

from recipes.layout import RunFolder
from recipes.load import load_recipe
from recipes.schedule import learning_rate

pytestmark = pytest.mark.long

ADAM = {"weight_decay": 0.3, "adam_beta1": 0.8, "adam_beta2": 0.9, "adam_eps": 1e-6}
SAVERS: dict[str, dict[str, Any]] = {
    "chunked loss": {"loss_chunk_tokens": 10, "micro_batch_size": 2},
    "full recomputation": {"recompute": "full"},
    "selective recomputation": {"recompute": "selective"},
    "both, tensor and sequence parallel": {
        "loss_chunk_tokens": 10,
        "recompute": "full",
        "tensor_parallel": 2,
        "micro_batch_size": 2,
    },
    "both, pipeline parallel": {"loss_chunk_tokens": 10, "recompute": "selective", "pipeline_parallel": 2},
}
CURVES: dict[str, dict[str, Any]] = {  # of phase 2
    "wsd": {"kind": "wsd", "max_lr": 0.01, "min_lr": 1e-3, "warmup_fraction": 0.2, "decay_fraction": 0.5},
    "constant": {"kind": "constant", "max_lr": 0.01, "warmup_fraction": 0.2},
    "continue": {"kind": "continue"},
}


class Done:
    """Trainings by name, each in a run folder of its own, and what `train_forked.py` answered to them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.jobs: list[tuple[str, dict[str, Any]]] = []
        self.answers: dict[str, dict[str, Any]] = {}

    def run(self, name: str) -> RunFolder:
        return RunFolder(self.folder / name / "run")

    def recipe(self, name: str) -> Path:
        return self.folder / name / "tiny.yaml"

    def add(self, name: str, phase: int, **fields: Any) -> None:
        """A job that trains `phase` with a recipe of its own; `fields` are of every phase, of the recipe or the job."""
        job = {key: fields.pop(key) for key in ("ranks", "fault") if key in fields}
        of_recipe = {key: fields.pop(key) for key in ("optimizer", "precision", "gradient_reduction") if key in fields}
        curve = fields.pop("curve", None)
        self.recipe(name).parent.mkdir(exist_ok=True)
        content = yaml.safe_load(tiny_recipe(self.recipe(name), every=8, **fields).read_text())
        content["model"]["shape"]["vocab_size"] = 300  # padded to 384: the rows beyond take part in no softmax
        content |= of_recipe
        if curve:
            content["phases"][1]["schedule"] = curve
        self.recipe(name).write_text(yaml.safe_dump(content))
        job |= {"run": str(self.run(name).root), "recipe": str(self.recipe(name)), "phase": phase}
        self.jobs.append((name, job))

    def train(self) -> None:
        command = [sys.executable, str(Path(__file__).with_name("train_forked.py"))]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        text = json.dumps([job for _, job in self.jobs])
        answer = subprocess.run([*command, text], capture_output=True, text=True, env=environment, timeout=600)
        assert answer.returncode == 0, answer.stdout + answer.stderr
        answers = json.loads(answer.stdout.splitlines()[-1])
        self.answers |= {name: found for (name, _), found in zip(self.jobs, answers, strict=True)}
        self.jobs.clear()


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    done = Done(tmp_path_factory.mktemp("runs"))
    tiny_data(done.run("first"))
    done.add("first", 1)
    done.train()
    after_first = {
        "reset": {},
        "carry": {"optimizer_state": "carry", "optimizer": ADAM},
        "fault": {"optimizer_state": "carry", "optimizer": ADAM, "fault": "saved_groups_win"},
        **{name: {**fields, "ranks": 2 if "parallel" in name else 1} for name, fields in SAVERS.items()},
        "bf16": {"precision": "bf16-mixed", "gradient_reduction": "bf16", "loss_chunk_tokens": 10, "ranks": 2},
        **{name: {"curve": curve} for name, curve in CURVES.items()},
    }
    for name, fields in after_first.items():
        shutil.copytree(done.run("first").root, done.run(name).root)
        done.add(name, 2, **fields)
    done.train()
    return done


def test_a_carried_state_keeps_its_moments_and_takes_the_numbers_of_the_new_recipe(done: Done) -> None:
    matrices, others = sorted(done.answers["carry"]["groups"], key=lambda group: -group["weight_decay"])
    for group, decay in ((matrices, 0.3), (others, 0.0)):
        assert (group["betas"], group["eps"], group["weight_decay"]) == ([0.8, 0.9], 1e-6, decay)
        assert group["step"] == 8 and group["moments"] > 0
    assert done.answers["carry"]["error"] is None
    assert all(not group["step"] and not group["moments"] for group in done.answers["reset"]["groups"])


def test_saved_numbers_that_win_stop_the_phase_before_its_first_step(done: Done) -> None:
    assert done.answers["fault"]["error"] == (
        "Adam has betas (0.9, 0.95) in parameter group 0 where the recipe says (0.8, 0.9): a loaded optimizer state "
        "has overwritten it"
    )
    assert metrics(done.run("fault"), 2) == []


def test_weight_decay_is_on_matrices_alone(done: Done) -> None:
    groups = done.answers["first"]["groups"]
    decayed = {name: group["weight_decay"] for group in groups for name in group["parameters"]}
    assert len(decayed) == 2 * 8 + 2  # of each layer four matrices and four norms; embedding and final norm
    for name, decay in decayed.items():
        assert decay == (0.0 if "norm" in name else 0.01), name


@pytest.mark.parametrize("name", SAVERS)
def test_what_saves_memory_changes_no_number(done: Done, name: str) -> None:
    assert done.answers[name]["error"] is None
    for figure in ("loss", "grad_norm"):
        plain = [line[figure] for line in metrics(done.run("reset"), 2)]
        assert [line[figure] for line in metrics(done.run(name), 2)] == pytest.approx(plain, rel=2e-5)


@pytest.mark.parametrize("name", [name for name, fields in SAVERS.items() if "loss_chunk_tokens" in fields])
def test_logits_exist_for_a_chunk_at_a_time(done: Done, name: str) -> None:
    assert done.answers["reset"]["loss_tokens"] == 32
    assert 8 <= done.answers[name]["loss_tokens"] <= 10


def test_gradients_are_summed_in_what_the_recipe_says(done: Done) -> None:
    assert (done.answers["bf16"]["error"], done.answers["bf16"]["gradients"]) == (None, "torch.bfloat16")
    assert done.answers["reset"]["gradients"] == "torch.float32"
    plain = [line["loss"] for line in metrics(done.run("reset"), 2)]
    assert [line["loss"] for line in metrics(done.run("bf16"), 2)] == pytest.approx(plain, rel=0.02)


@pytest.mark.parametrize("name", ["reset", *CURVES])
def test_every_step_has_the_planned_rate(done: Done, name: str) -> None:
    recipe = load_recipe(str(done.recipe(name)))
    rates = [line["lr"] for line in metrics(done.run(name), 2)]
    assert rates == [learning_rate(recipe, 2, iteration) for iteration in range(8)]
