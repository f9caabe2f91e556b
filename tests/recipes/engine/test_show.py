"""The NeMo configuration of every shipped recipe, and its difference from NeMo's own, line by line in golden files.

`PYTHONPATH=. python tests/recipes/engine/render_recipes.py --write` makes them anew: read what changed.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_run import ROOT

pytestmark = pytest.mark.slow

GOLDEN = Path(__file__).parents[1] / "golden"
SHOW = "from launch.recipe_command import app; from recipes.terminal import run_command; run_command(app)"


def _python(*arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=environment, timeout=300)


@pytest.fixture(scope="module")
def rendered() -> dict[str, str]:
    answer = _python(str(Path(__file__).with_name("render_recipes.py")))
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", sorted(path.name for path in GOLDEN.glob("qwen3_*")))
def test_a_recipe_becomes_what_its_golden_file_says(rendered: dict[str, str], name: str) -> None:
    assert rendered[name] == (GOLDEN / name).read_text(encoding="utf-8")


def test_every_rendering_has_a_golden_file(rendered: dict[str, str]) -> None:
    assert {path.name for path in GOLDEN.glob("qwen3_*")} >= set(rendered)


@pytest.mark.long
def test_show_prints_json_and_nothing_else() -> None:
    answer = _python("-c", SHOW, "show", "qwen3_tiny", "--phase", "long_context", "--cluster", "local", "--json")
    assert (answer.returncode, answer.stderr) == (0, "")
    (phase,) = json.loads(answer.stdout)
    assert phase["_target_"] == "nemo.collections.llm.api.pretrain"
    assert phase["model"]["config"]["seq_length"] == 512
    assert phase["trainer"]["accelerator"] == "cpu"


@pytest.mark.long
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["qwen3_tiny", "--diff"], "recipe qwen3_tiny: NeMo has no recipe for 2 layers of 192; leave out --diff."),
        (["qwen3_tiny", "--diff", "--json"], "--diff is text: leave out --json."),
        (
            ["qwen3_1p7b", "--phase", "4", "--set", "phases.4.optimizer_state=carry"],
            "phase long_context: optimizer_state: carry needs the tensor_parallel and pipeline_parallel of the phase "
            "before on GPUs, where checkpoints are written for one layout; reset it, or keep the layout.",
        ),
    ],
)
def test_what_cannot_be_shown_is_one_sentence(arguments: list[str], sentence: str) -> None:
    answer = _python("-c", SHOW, "show", *arguments)
    assert (answer.returncode, answer.stdout, answer.stderr) == (2, "", f"error: {sentence}\n")
