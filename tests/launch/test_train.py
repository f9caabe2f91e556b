"""Whole trainings with NeMo: layouts agree, a killed run goes on as if nothing had been, finished ones are skipped."""

import json
import shutil
import struct
import time
from pathlib import Path
from typing import Any

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
    recipe = tiny_recipe(folder / "tiny.yaml", wandb={"project": "tiny", "mode": "offline"})
    output = train(recipe, tiny_cluster(folder / "one.yaml", 1), run, "1,2")
    assert all(line.startswith(("phase ", "W&B run ")) for line in output.splitlines())
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


def test_both_phases_are_one_run_of_wandb_that_never_goes_backwards(one_rank: RunFolder) -> None:
    """Each phase is a start of its own, and writes all that the run has seen so far."""
    first, second = (wandb_records(path) for path in sorted(one_rank.training.glob("wandb/offline-run-*/*.wandb")))
    identity = json.loads(one_rank.wandb.read_text())["id"]
    assert {record.run.run_id for record in first + second if record.HasField("run")} == {identity}
    expected = [line["loss"] for phase in (1, 2) for line in metrics(one_rank, phase)]
    for records, steps in ((first, 8), (second, 16)):
        history = [record.history for record in records if record.HasField("history")]
        assert [line.step.num for line in history] == list(range(1, steps + 1))
        losses = [
            float(item.value_json) for line in history for item in line.item if "loss" in (item.key, *item.nested_key)
        ]
        assert losses == expected[:steps]


def wandb_records(path: Path) -> list[Any]:
    """The records of an offline run: LevelDB's log format behind 7 bytes of their own."""
    record_type = pytest.importorskip("wandb.proto.wandb_internal_pb2").Record
    content, position, records, begun = path.read_bytes(), 7, [], b""
    while position + 7 <= len(content):
        if (left := 32_768 - position % 32_768) < 7:  # the rest of a block that no header fits into
            position += left
            continue
        size, kind = struct.unpack_from("<HB", content, position + 4)  # after the checksum
        begun += content[position + 7 : position + 7 + size]
        position += 7 + size
        if kind in (1, 4):  # whole, or its last part
            records.append(record_type.FromString(begun))
            begun = b""
    return records


def test_only_the_newest_checkpoints_are_kept(one_rank: RunFolder) -> None:
    assert [iteration for iteration, _ in whole_checkpoints(one_rank.checkpoints(1))] == [6, 8]


def test_finished_phases_are_skipped_and_no_rank_is_started(one_rank: RunFolder, tmp_path: Path) -> None:
    files = [one_rank.metrics, *(one_rank.training / "logs").glob("*.txt")]
    before = [path.read_bytes() for path in files]
    train(tiny_recipe(tmp_path / "tiny.yaml"), tiny_cluster(tmp_path / "one.yaml", 1), one_rank, "1,2")
    assert [path.read_bytes() for path in files] == before


LAYOUTS = [
    pytest.param({}, id="data parallel"),
    pytest.param({"tensor_parallel": 2}, id="tensor parallel", marks=pytest.mark.long),
    pytest.param({"pipeline_parallel": 2}, id="pipeline parallel", marks=pytest.mark.long),
]


@pytest.mark.parametrize("layout", LAYOUTS)
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


@pytest.mark.long
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
