"""What goes wrong with W&B is said, and nothing stops; what goes right is in tests/launch/test_train.py."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tiny_run import tiny_recipe

from recipes.engine.metrics_file import append_line
from recipes.engine.wandb_run import WandbRun
from recipes.layout import RunFolder
from recipes.load import load_recipe

pytestmark = pytest.mark.slow  # imports Lightning


class Sent:
    """A W&B run that keeps what it is sent, and has had the steps before `step` already."""

    def __init__(self, step: int) -> None:
        self.step = step
        self.lines: list[tuple[int, float]] = []
        self.status: int | None = None

    def log(self, line: dict[str, Any], step: int) -> None:
        if line["loss"] == 13:
            raise OSError("the disk is full")
        self.lines.append((step, line["loss"]))

    def finish(self, status: int) -> None:
        self.status = status


def _begun(folder: Path, monkeypatch: pytest.MonkeyPatch, wandb_run: Any) -> tuple[WandbRun, list[str], RunFolder]:
    """The callback after its start in a run that has two lines of phase 1."""
    recipe = load_recipe(str(tiny_recipe(folder / "tiny.yaml", wandb={"project": "tiny"})))
    run, said = RunFolder(folder / "run"), list[str]()
    run.training.mkdir(parents=True)
    _write(run, 1, 7, 0.7)
    _write(run, 1, 8, 0.8)
    assert recipe.wandb
    callback = WandbRun(recipe, recipe.wandb, run, offline=False, every=1, say=said.append)
    wandb = pytest.importorskip("wandb")
    monkeypatch.setattr(wandb, "init", wandb_run)
    callback.on_train_start(TRAINER, None)
    return callback, said, run


TRAINER: Any = SimpleNamespace(is_global_zero=True, global_step=1)


def _write(run: RunFolder, phase: int, iteration: int, loss: float | None) -> None:
    append_line(run.metrics, {"phase": phase, "iteration": iteration, "loss": loss})


def _sent(step: int) -> Any:
    run = Sent(step)
    extras = {"id": "abc", "dir": "files", "url": "there", "define_metric": lambda *args, **kwargs: None}
    for name, value in extras.items():
        setattr(run, name, value)
    return run


def test_what_wandb_has_not_is_sent_at_a_restart_and_then_what_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = _sent(8)
    asked: list[dict[str, Any]] = []
    callback, said, run = _begun(tmp_path, monkeypatch, lambda **given: (asked.append(given), sent)[1])
    assert sent.lines == [(8, 0.8)] and said == ["W&B run abc of project tiny: there."]
    _write(run, 2, 1, 0.1)
    callback.on_train_batch_end(TRAINER)
    callback.on_train_end(TRAINER, None)
    assert sent.lines == [(8, 0.8), (9, 0.1)] and sent.status == 0
    (tmp_path / "again").mkdir()
    _begun(tmp_path / "again", monkeypatch, lambda **given: (asked.append(given), _sent(0))[1])
    assert asked[0]["id"] != asked[1]["id"] and asked[0]["resume"] == "allow" and asked[0]["mode"] == "online"


def test_no_login_and_no_network_stop_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def init(**given: Any) -> Any:
        raise RuntimeError("no API key configured\nmore of it")

    callback, said, _ = _begun(tmp_path, monkeypatch, init)
    callback.on_train_batch_end(TRAINER)
    callback.on_exception(TRAINER, None, RuntimeError())
    assert said == [
        "W&B failed (no API key configured); training goes on without it, and the next start sends what is missing."
    ]


def test_a_failure_in_the_midst_stops_sending_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = _sent(0)
    callback, said, run = _begun(tmp_path, monkeypatch, lambda **given: sent)
    _write(run, 2, 1, 13)
    callback.on_train_batch_end(TRAINER)
    _write(run, 2, 2, 0.2)
    callback.on_train_batch_end(TRAINER)
    callback.on_train_end(TRAINER, None)
    assert sent.lines == [(7, 0.7), (8, 0.8)] and "the disk is full" in said[-1] and len(said) == 2
