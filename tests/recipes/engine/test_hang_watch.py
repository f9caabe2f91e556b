"""A rank that hangs is named, with what it was at, and the job ends; one that only takes long does not end it."""

import re
import socket
from pathlib import Path
from typing import Any

import pytest
from forked import Forked, recipe_file
from tiny_run import metrics, tiny_data

from recipes.engine.beats import WAITING, Beat, Observed, hung
from recipes.layout import RunFolder

SAMPLE, ITERATION = 15, 4  # with four samples a batch, the second micro batch of the second replica
QUICK = {"hang_minutes": 0.1, "slow_stage_minutes": 2.0}


def fresh(folder: Path, **changes: Any) -> tuple[RunFolder, Path]:
    run = RunFolder(folder / "run")
    tiny_data(run, phases=1)
    policy = {"checkpoint": {"every_iterations": 3}, "faults": QUICK}
    return run, recipe_file(folder / "tiny.yaml", policy, **changes)


def hang(forked: Forked, folder: Path, what: str, **changes: Any) -> str:
    """What is said in the end of a run that hangs, and goes on afterwards."""
    run, recipe = fresh(folder, **changes)
    answer = forked.train(run, recipe, planted=[what, SAMPLE])
    assert answer["status"][0] == 1 and answer["status"][1] in (1, -9), answer  # it may miss rank 0 before it is killed
    assert [line["iteration"] for line in metrics(run, 1)] == [1, 2, 3]
    said: str = answer["said"][-1]
    assert forked.left() == []
    assert forked.train(run, recipe)["status"] == [0, 0]
    assert [line["iteration"] for line in metrics(run, 1)] == list(range(1, 9))
    return said


def where(rank: int) -> str:
    return f"iteration {ITERATION}: rank {rank} on host {socket.gethostname()}, process "


@pytest.mark.slow
def test_a_rank_that_hangs_in_reading_is_named(forked: Forked, tmp_path: Path) -> None:
    said = hang(forked, tmp_path, "sleep_in_reading")
    assert said.startswith(f"error: {where(1)}")
    assert re.search(
        r" has made no progress for 0\.\d minutes: reading data at sample 15 \(documents? [\d, ]+ of \w+\), in "
        r"planted_faults.py:\d+ in sleep; the stacks of all ranks are in their logs\. The job ends here; ",
        said,
    )


@pytest.mark.long
def test_a_rank_that_hangs_in_the_forward_pass_is_named(forked: Forked, tmp_path: Path) -> None:
    """The ranks of the pipeline stages before and behind it wait, and are not named."""
    said = hang(forked, tmp_path, "sleep_in_forward", pipeline_parallel=2)
    assert said.startswith(f"error: {where(0)}")
    assert "in the forward pass at sample 15 (document" in said


@pytest.mark.long
def test_a_frozen_process_is_named(forked: Forked, tmp_path: Path) -> None:
    """It is seen as it was at its last beat."""
    said = hang(forked, tmp_path, "freeze")
    assert re.match(
        rf"error: iteration \d: rank 1 on host {socket.gethostname()}, process \d+ has not been heard", said
    )
    assert " minutes: it, or its host, has stopped; it was " in said


@pytest.mark.long
def test_a_long_save_is_no_hang(forked: Forked, tmp_path: Path) -> None:
    run, recipe = fresh(tmp_path)
    answer = forked.train(run, recipe, fault="save_slowly")
    assert answer["status"] == [0, 0], answer
    assert answer["seconds"] > 12


def seen(stage: str, progress: int, stuck: float, silent: float = 0.0, limit: float = 10.0) -> Observed:
    return Observed(Beat(0, progress, limit, 4, [], stage, "", "", 0), silent, stuck)


BUSY = "in the forward pass"


@pytest.mark.parametrize(
    ("ranks", "expected"),
    [
        ([seen(WAITING, 5, 9), seen(BUSY, 4, 9)], []),
        ([seen(WAITING, 5, 11), seen(BUSY, 4, 11)], [1]),
        ([seen(WAITING, 4, 11), seen(BUSY, 5, 11)], [1]),  # a pipeline: who waits is behind
        ([seen(WAITING, 5, 11), seen(BUSY, 5, 11, limit=60)], []),  # saves, and the other waits for that
        ([seen(WAITING, 5, 11), seen(WAITING, 4, 11), seen(WAITING, 4, 11)], [1, 2]),
        ([seen(WAITING, 5, 9), seen(WAITING, 4, 11)], []),  # one has just arrived
        ([seen(BUSY, 5, 11), seen(WAITING, 5, 11, silent=11, limit=60)], [1]),
        ([seen(BUSY, 6, 11), seen(BUSY, 4, 11), seen(BUSY, 4, 9)], [1]),
        ([seen(BUSY, 6, 1), seen(BUSY, 4, 1)], []),
    ],
)
def test_whom_the_others_wait_for(ranks: list[Observed], expected: list[int]) -> None:
    assert hung(ranks, silence=10.0) == expected
