"""The quickstart as a newcomer runs it, killed on the way; and the control that shows where its gain comes from."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from recipes.checkpoints import latest_checkpoint
from recipes.layout import RunFolder

GENERAL_ALONE = [f"--set=phases.{number}.mixture={{general: 1.0}}" for number in range(1, 5)]


def start(folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "launch.cli", "quickstart", "--run", str(folder), *arguments]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def finish(folder: Path, *arguments: str) -> str:
    process = start(folder, *arguments)
    output, _ = process.communicate(timeout=1200)
    assert process.returncode == 0, output
    return output


def kill_when(folder: Path, reached: Callable[[], bool]) -> None:
    """Start the quickstart and kill -9 its whole process group once `reached`."""
    process = start(folder)
    while not reached():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder and the last output of a quickstart that was killed in base training and in the third phase."""
    folder = tmp_path_factory.mktemp("quickstart")
    kill_when(folder, lambda: latest_checkpoint(RunFolder(folder / "base"), 1) is not None)
    kill_when(folder, lambda: latest_checkpoint(RunFolder(folder / "curriculum"), 3) is not None)
    return folder, finish(folder)


def changes(folder: Path) -> dict[str, float]:
    """Change of perplexity per domain from the base to the last phase, in percent."""
    return json.loads((folder / "curriculum/report/report.json").read_text())["changes"][-1]["perplexity"]


@pytest.mark.slow
def test_the_base_beats_a_trigram_and_the_phases_gain_on_legal_text(quickstart: tuple[Path, str]) -> None:
    folder, output = quickstart
    report = json.loads((folder / "curriculum/report/report.json").read_text())
    base, trigram = report["results"][0], report["trigram"]
    assert base["domains"]["general"]["perplexity"] < trigram["domains"]["general"]["perplexity"]
    assert changes(folder)["legal"] <= -25
    assert "beats a Kneser-Ney trigram" in output


@pytest.mark.slow
def test_it_ends_with_three_lines_that_load_the_model(quickstart: tuple[Path, str]) -> None:
    _, output = quickstart
    lines = [line for line in output.splitlines() if line.startswith(("from transformers", "model =", "tokenizer ="))]
    assert len(lines) == 3
    use = "print(type(model).__name__, len(tokenizer('Madde 1 –').input_ids) > 1)"
    command = [sys.executable, "-c", "\n".join([*lines, use])]
    loaded = subprocess.run(command, capture_output=True, text=True, check=False)
    assert loaded.stdout.split() == ["Qwen3ForCausalLM", "True"], loaded.stderr


@pytest.mark.slow
def test_every_step_of_every_phase_is_logged_once(quickstart: tuple[Path, str]) -> None:
    folder, _ = quickstart
    lines = [json.loads(line) for line in (folder / "curriculum/training/metrics.jsonl").read_text().splitlines()]
    steps, validations = (
        [(line["phase"], line["iteration"]) for line in lines if kind in line] for kind in ("loss", "validation")
    )
    assert steps == sorted(set(steps))
    assert {phase for phase, _ in steps} == {1, 2, 3, 4}
    assert validations == [(1, 0), (1, 48), (2, 50), (2, 64), (3, 50), (3, 96), (4, 48)]


@pytest.mark.slow
def test_a_second_run_changes_no_file(quickstart: tuple[Path, str]) -> None:
    folder, _ = quickstart
    results = [path for path in folder.rglob("*") if path.is_file() and "report." not in path.name]
    before = {path: path.stat().st_mtime_ns for path in results}
    finish(folder)
    after = {path: path.stat().st_mtime_ns for path in results if path.exists()}
    assert after == before


@pytest.mark.long
def test_general_text_alone_gains_clearly_less(quickstart: tuple[Path, str], tmp_path: Path) -> None:
    folder, _ = quickstart
    shutil.copytree(folder / "base", tmp_path / "base", symlinks=True)
    finish(tmp_path, *GENERAL_ALONE)
    assert changes(tmp_path)["legal"] > changes(folder)["legal"] + 15
