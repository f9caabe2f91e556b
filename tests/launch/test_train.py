"""Whole trainings with NeMo: layouts agree, a killed run goes on as if nothing had been, finished ones are skipped."""

import json
import shutil
import time
from pathlib import Path

import pytest
from tiny_run import metrics, start_training, tiny_cluster, tiny_data, tiny_recipe, train

from recipes.checkpoints import final_checkpoint, whole_checkpoints
from recipes.layout import RunFolder

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def one_rank(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Two phases, trained without interruption by one process."""
    folder = tmp_path_factory.mktemp("one_rank")
    run = RunFolder(folder / "run")
    tiny_data(run)
    output = train(tiny_recipe(folder / "tiny.yaml"), tiny_cluster(folder / "one.yaml", 1), run, "1,2")
    assert all(line.startswith("phase ") for line in output.splitlines())
    return run


def test_trains_every_phase_to_its_end_and_learns(one_rank: RunFolder) -> None:
    for phase in (1, 2):
        assert [line["iteration"] for line in metrics(one_rank, phase)] == list(range(1, 9))
        assert final_checkpoint(one_rank, phase) == one_rank.checkpoints(phase) / "iteration_0000008"
        assert (one_rank.checkpoints(phase) / "iteration_0000008" / "context" / "model.yaml").is_file()
    assert metrics(one_rank, 2)[-1]["loss"] < metrics(one_rank, 1)[0]["loss"] - 1
    assert metrics(one_rank, 2)[-1]["tokens_total"] == 2 * 8 * 4 * 32


def test_every_line_has_memory_and_all_after_a_first_step_the_time_that_is_left(one_rank: RunFolder) -> None:
    lines = [json.loads(line) for line in one_rank.metrics.read_text().splitlines()]
    assert all(0.1 < line["peak_memory_gb"] < 10 for line in lines)
    assert [line["iteration"] for line in lines if "seconds_left" not in line] == [1, 1]
    for line in lines:
        if line["iteration"] > 1:
            phase, run = line["seconds_left"], line["seconds_left_run"]
            assert (phase > 0) == (line["iteration"] < 8) and (run > phase) == (line["phase"] == 1)


def test_only_the_newest_checkpoints_are_kept(one_rank: RunFolder) -> None:
    assert [iteration for iteration, _ in whole_checkpoints(one_rank.checkpoints(1))] == [6, 8]


def test_finished_phases_are_skipped_and_no_rank_is_started(one_rank: RunFolder, tmp_path: Path) -> None:
    files = [one_rank.metrics, *(one_rank.training / "logs").glob("*.txt")]
    before = [path.read_bytes() for path in files]
    train(tiny_recipe(tmp_path / "tiny.yaml"), tiny_cluster(tmp_path / "one.yaml", 1), one_rank, "1,2")
    assert [path.read_bytes() for path in files] == before


LAYOUTS = {
    "data parallel": {},
    "tensor parallel": {"tensor_parallel": 2},
    "pipeline parallel": {"pipeline_parallel": 2},
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_two_ranks_print_the_losses_of_one(one_rank: RunFolder, tmp_path: Path, layout: dict[str, int]) -> None:
    run = _after_phase_1(one_rank, tmp_path)
    train(tiny_recipe(tmp_path / "tiny.yaml", **layout), tiny_cluster(tmp_path / "two.yaml", 2), run, "2")
    losses = [line["loss"] for line in metrics(run, 2)]
    assert losses == pytest.approx([line["loss"] for line in metrics(one_rank, 2)], rel=2e-5)


def test_a_killed_run_goes_on_with_the_same_curve(one_rank: RunFolder, tmp_path: Path) -> None:
    run = _after_phase_1(one_rank, tmp_path)
    recipe, cluster = tiny_recipe(tmp_path / "tiny.yaml"), tiny_cluster(tmp_path / "one.yaml", 1)
    killed = start_training(recipe, cluster, run, "2")
    while not any(line["iteration"] >= 4 for line in metrics(run, 2)):
        assert killed.poll() is None
        time.sleep(0.01)
    killed.kill()
    killed.communicate()
    (run.checkpoints(2) / "iteration_0000007").mkdir()  # what a save that was killed leaves
    (run.checkpoints(2) / "iteration_0000007-unfinished").touch()
    train(recipe, cluster, run, "2")
    assert metrics(run, 2) == metrics(one_rank, 2)


def test_carried_moments_take_the_rates_of_the_new_phase(one_rank: RunFolder, tmp_path: Path) -> None:
    run = _after_phase_1(one_rank, tmp_path)
    recipe = tiny_recipe(tmp_path / "tiny.yaml", optimizer_state="carry")
    train(recipe, tiny_cluster(tmp_path / "one.yaml", 1), run, "2")
    carried, reset = metrics(run, 2), metrics(one_rank, 2)
    assert [line["lr"] for line in carried] == [line["lr"] for line in reset]
    assert carried[0]["loss"] == reset[0]["loss"]  # the same weights
    assert carried[1]["loss"] != reset[1]["loss"]  # another first step


def _after_phase_1(one_rank: RunFolder, folder: Path) -> RunFolder:
    """A copy of the run in which only phase 1 has been trained."""
    run = RunFolder(folder / "run")
    shutil.copytree(one_rank.root, run.root)
    shutil.rmtree(run.checkpoints(2))
    run.lock.unlink()  # phase 2 may be given another recipe
    lines = run.metrics.read_text().splitlines(keepends=True)
    run.metrics.write_text("".join(line for line in lines if '"phase": 1,' in line))
    return run
