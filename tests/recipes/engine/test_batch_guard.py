"""A NaN or a spike in one sample's batch: named, and skipped or stopped at, before it changes anything."""

import socket
from pathlib import Path
from typing import Any

import pytest
import torch
from forked import Forked, recipe_file
from tiny_run import metrics, tiny_data

from recipes.checkpoints import whole_checkpoints
from recipes.layout import RunFolder

SAMPLE, ITERATION = 15, 4  # with four samples a batch, the second micro batch of the second replica
EVERY = {"checkpoint": {"every_iterations": 1, "keep_last": 9}}


def fresh(folder: Path, faults: dict[str, Any], **phase: Any) -> tuple[RunFolder, Path]:
    run = RunFolder(folder / "run")
    tiny_data(run, phases=1)
    return run, recipe(folder, faults, **phase)


def recipe(folder: Path, faults: dict[str, Any], **phase: Any) -> Path:
    return recipe_file(folder / "tiny.yaml", EVERY | {"faults": faults}, **phase)


def weights_and_moments(run: RunFolder, iteration: int) -> dict[str, bytes]:
    folder = run.checkpoints(1) / f"iteration_{iteration:07d}" / "weights"
    return {path.name: path.read_bytes() for path in folder.glob("*.distcp")}


def adam_steps(run: RunFolder, iteration: int) -> list[int]:
    """Adam's count of steps, of every parameter group, in a checkpoint of our own."""
    path = run.checkpoints(1) / f"iteration_{iteration:07d}" / "weights" / "common.pt"
    optimizers = torch.load(path, weights_only=False)["optimizer"]
    return [group["step"] for one in optimizers for group in one["optimizer"]["param_groups"]]


def fault_said(answer: dict[str, Any]) -> str:
    """The only line that is not of progress."""
    (line,) = (line for line in answer["said"] if line.startswith("iteration "))
    return str(line)


def where(rank: int, replica: int = 0, stage: int = 0) -> str:
    return (
        f"rank {rank} (host {socket.gethostname()}, data-parallel {replica}, tensor-parallel 0, pipeline {stage}) "
        f"with sample {SAMPLE} (document"
    )


@pytest.mark.slow
def test_a_nan_is_stopped_at_and_then_skipped_also_through_a_kill(forked: Forked, tmp_path: Path) -> None:
    run, stopping = fresh(tmp_path, {"nonfinite": "stop"})
    planted = ["nan_loss", SAMPLE]
    answer = forked.train(run, stopping, planted=planted)
    assert 2 in answer["status"], answer
    named = f"iteration {ITERATION}: the loss is NaN or infinite on {where(1, replica=1)}"
    assert answer["error"].startswith(named)
    assert answer["error"].endswith("to leave it out, start again with --set faults.nonfinite=skip.")
    assert [iteration for iteration, _ in whole_checkpoints(run.checkpoints(1))] == [1, 2, 3]

    answer = forked.train(run, recipe(tmp_path, {"nonfinite": "skip"}), planted=planted)
    assert answer["status"] == [0, 0], answer
    assert fault_said(answer).startswith(named) and fault_said(answer).endswith(": skipped.")
    lines = metrics(run, 1)
    assert [line["iteration"] for line in lines] == list(range(1, 9))
    assert [line for line in lines if "skipped" in line] == [lines[ITERATION - 1]]
    skipped = lines[ITERATION - 1]
    assert (skipped["skipped"], skipped["samples"], skipped["loss"]) == ("nan", [SAMPLE], None)
    assert weights_and_moments(run, ITERATION) == weights_and_moments(run, ITERATION - 1)
    assert weights_and_moments(run, ITERATION + 1) != weights_and_moments(run, ITERATION)
    assert [adam_steps(run, iteration) for iteration in (3, 4, 5)] == [[3, 3], [3, 3], [4, 4]]

    again, _ = fresh(tmp_path / "again", {})
    answer = forked.train(again, tmp_path / "tiny.yaml", planted=planted, kill=[0, 300])
    assert -9 in answer["status"], answer
    assert forked.train(again, tmp_path / "tiny.yaml", planted=planted)["status"] == [0, 0]
    assert metrics(again, 1) == lines
    assert weights_and_moments(again, 8) == weights_and_moments(run, 8)


@pytest.mark.long
@pytest.mark.parametrize("what", ["nan_loss", "infinite_gradient"])
def test_every_pipeline_stage_decides_alike(forked: Forked, tmp_path: Path, what: str) -> None:
    run, skipping = fresh(tmp_path, {"nonfinite": "skip"}, pipeline_parallel=2)
    answer = forked.train(run, skipping, planted=[what, SAMPLE])
    assert answer["status"] == [0, 0], answer
    place = where(1, stage=1) if what == "nan_loss" else f"rank 0 (host {socket.gethostname()}, data-parallel 0"
    assert f"is NaN or infinite on {place}" in fault_said(answer)
    assert [line.get("skipped") for line in metrics(run, 1)] == [None] * 3 + ["nan"] + [None] * 4
    assert weights_and_moments(run, ITERATION) == weights_and_moments(run, ITERATION - 1)


@pytest.mark.long
def test_infinite_gradients_of_a_finite_loss_are_their_own_replicas(forked: Forked, tmp_path: Path) -> None:
    run, skipping = fresh(tmp_path, {"nonfinite": "skip"})
    answer = forked.train(run, skipping, planted=["infinite_gradient", SAMPLE])
    assert answer["status"] == [0, 0], answer
    assert fault_said(answer).startswith(f"iteration {ITERATION}: the gradient is NaN or infinite on rank 1 (host")
    line = metrics(run, 1)[ITERATION - 1]
    assert (line["skipped"], line["samples"], line["grad_norm"]) == ("nan", [13, SAMPLE], None)
    assert line["loss"] > 0
    assert weights_and_moments(run, ITERATION) == weights_and_moments(run, ITERATION - 1)


@pytest.mark.long
@pytest.mark.parametrize("policy", ["skip", "note", "stop"])
def test_a_spike_is_named(forked: Forked, tmp_path: Path, policy: str) -> None:
    """In the sixth iteration: a window of four losses is full, and falls by more than their deviation."""
    run, watching = fresh(tmp_path, {"spike": policy, "window": 4})
    answer = forked.train(run, watching, planted=["high_loss", 23])
    named = "on rank 1 (host"
    if policy == "stop":
        assert 2 in answer["status"] and named in answer["error"], answer
        assert answer["error"].endswith("start again with --set faults.spike=skip.")
        assert [iteration for iteration, _ in whole_checkpoints(run.checkpoints(1))] == [1, 2, 3, 4, 5]
        return
    assert answer["status"] == [0, 0], answer
    assert fault_said(answer).startswith("iteration 6: the loss is ") and named in fault_said(answer)
    line = metrics(run, 1)[5]
    assert (line["skipped" if policy == "skip" else "noted"], line["samples"]) == ("spike", [23])
    assert (weights_and_moments(run, 6) == weights_and_moments(run, 5)) == (policy == "skip")


@pytest.mark.long
def test_a_run_that_would_skip_for_ever_stops(forked: Forked, tmp_path: Path) -> None:
    run, skipping = fresh(tmp_path, {"nonfinite": "skip", "max_skipped": 0})
    answer = forked.train(run, skipping, planted=["nan_loss", SAMPLE])
    assert 2 in answer["status"], answer
    assert answer["error"].endswith(
        "stopped, because 0 of the last 128 batches were skipped already; look for the cause, or raise "
        "faults.max_skipped."
    )
