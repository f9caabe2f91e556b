"""The `cpt` command from outside: what it prints, and how it ends."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from recipes.load import shipped_names


def cpt(*arguments: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-m", "launch.cli", *map(str, arguments)], capture_output=True, text=True)


@pytest.mark.parametrize("recipe", shipped_names())
def test_every_shipped_recipe_has_a_plan_before_there_are_shards(recipe: str, tmp_path: Path) -> None:
    planned = cpt("plan", recipe, "--run", tmp_path, "--json")
    assert planned.returncode == 0, planned.stderr
    assert json.loads(planned.stdout)["recipe"] == recipe


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["plan", "qwen3_tini"], "did you mean 'qwen3_tiny'"),
        (
            ["plan", "qwen3_4b", "--cluster", "mn5", "--set", "phases.1.global_batch_size=410"],
            "nearest that are: 400 or 800",
        ),
        (["plan", "qwen3_4b", "--set", "phases.1.token_budget=3e11"], "`phases.1.token_budget`"),
        (["train", "qwen3_tiny", "--phases", "9"], "has no phase '9'"),
        (["evaluate", "qwen3_tiny", "base"], "expected NAME=FOLDER"),
        (["evaluate", "qwen3_tiny", "base=a", "base=b"], "every model needs a name of its own"),
        (["quickstart", "--corpus", "none.yaml"], "none.yaml cannot be read"),
    ],
)
def test_bad_input_is_one_sentence_and_status_2(arguments: list[str], sentence: str, tmp_path: Path) -> None:
    ended = cpt(*arguments)
    assert ended.returncode == 2
    assert sentence in ended.stderr
    assert ended.stderr.startswith("error: ") and ended.stderr.count("\n") == 1


@pytest.mark.slow
def test_a_base_without_config_or_weights(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for step, expected in ((lambda: None, "config.json"), (lambda: (tmp_path / "config.json").write_text("{}"), "")):
        step()
        ended = cpt("convert", "import", tmp_path, out)
        assert ended.returncode == 2 and expected in ended.stderr and ended.stderr.count("\n") == 1
    assert not out.exists()


def test_an_interrupt_is_one_line_and_status_130(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    os.mkfifo(recipe)
    process = subprocess.Popen(
        [sys.executable, "-m", "launch.cli", "plan", str(recipe)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with recipe.open("w"):  # waits until the command reads it
        time.sleep(0.1)  # and is inside of the read
        os.killpg(process.pid, signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    assert (process.returncode, output, errors) == (
        130,
        "",
        "stopped; nothing is half-written, run the same command again to go on.\n",
    )


def test_help_and_plan_import_nothing_heavy() -> None:
    script = (
        "import sys; sys.argv = ['cpt', 'plan', 'qwen3_tiny']; import launch.cli\n"
        "try: launch.cli.main()\n"
        "except SystemExit: pass\n"
        "print([name for name in ('torch', 'nemo', 'transformers') if name in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert ended.stdout.splitlines()[-1] == "[]", ended.stderr
