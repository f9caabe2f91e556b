"""Trainings that are killed, starved and started twice go on from their last whole checkpoint with the same numbers.

`KILL_POINTS=30 pytest -m 'slow or long' tests/recipes/engine/test_resume.py` kills so often; by default six times.
"""

import os
import random
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from forked import KEPT, Forked, recipe_file
from tiny_run import metrics, tiny_data, tiny_recipe

from recipes.artifacts import read_json, write_json
from recipes.checkpoints import find_damage, whole_checkpoints
from recipes.engine.base_loss import loss_of
from recipes.layout import RunFolder
from recipes.load import load_recipe

KILL_POINTS = int(os.environ.get("KILL_POINTS", "6"))


class Whole:
    """A run of eight iterations on two data-parallel ranks that nothing disturbed, with checkpoints at 2, 4, 6, 8."""

    def __init__(self, folder: Path, forked: Forked) -> None:
        self.run, self.recipe = RunFolder(folder / "run"), recipe_file(folder / "tiny.yaml")
        tiny_data(self.run, phases=1)
        self.answer = forked.train(self.run, self.recipe)
        assert self.answer["status"] == [0, 0], self.answer
        self.curve = metrics(self.run, 1)

    def copy(self, folder: Path, *iterations: int) -> RunFolder:
        """The run as it was when it had just saved these."""
        run = RunFolder(folder / "run")
        shutil.copytree(self.run.root, run.root, symlinks=True)
        for iteration, checkpoint in whole_checkpoints(run.checkpoints(1)):
            if iteration not in iterations:
                shutil.rmtree(checkpoint)
        return run


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, forked: Forked) -> Whole:
    return Whole(tmp_path_factory.mktemp("whole"), forked)


def files_of_weights(run: RunFolder, iteration: int) -> dict[str, bytes]:
    folder = run.checkpoints(1) / f"iteration_{iteration:07d}" / "weights"
    return {path.name: path.read_bytes() for path in folder.glob("*.distcp")}


@pytest.mark.slow
def test_the_undisturbed_run_learns_and_its_checkpoints_are_whole(whole: Whole) -> None:
    assert [line["iteration"] for line in whole.curve] == list(range(1, 9))
    assert whole.curve[-1]["loss"] < whole.curve[0]["loss"] - 0.3
    checkpoints = whole_checkpoints(whole.run.checkpoints(1))
    assert [iteration for iteration, _ in checkpoints] == [2, 4, 6, 8]
    assert [find_damage(path) for _, path in checkpoints] == [None] * 4
    assert {path.name for path in whole.run.checkpoints(1).iterdir()} == {path.name for _, path in checkpoints}


@pytest.mark.slow
def test_killed_anywhere_it_goes_on_from_the_last_whole_checkpoint_with_the_same_bits(
    whole: Whole, forked: Forked, tmp_path: Path
) -> None:
    points = random.Random(5)
    killed, chain = 0, 0
    while killed < KILL_POINTS:
        run, chain = RunFolder(tmp_path / f"chain_{chain}" / "run"), chain + 1
        tiny_data(run, phases=1)
        finished = False
        while not finished:
            kill = kill_point(points, whole.answer) if killed < KILL_POINTS else None
            answer = forked.train(run, whole.recipe, kill=kill)
            finished = answer["status"] == [0, 0]
            assert finished or (kill is not None and -9 in answer["status"]), (kill, answer)
            killed += not finished
            assert not any(find_damage(path) for _, path in whole_checkpoints(run.checkpoints(1)))
        assert metrics(run, 1) == whole.curve
        assert files_of_weights(run, 8) == files_of_weights(whole.run, 8)
        assert not [path for path in run.checkpoints(1).iterdir() if len(path.name) > len("iteration_0000000")]
    assert forked.left() == []


def kill_point(points: random.Random, undisturbed: dict[str, Any]) -> list[Any]:
    """A rank, and one of its file operations, most of which are in a save, or a moment."""
    rank = points.randrange(2)
    if points.random() < 0.3:
        return [rank, points.uniform(0.1, undisturbed["seconds"])]
    return [rank, points.randrange(1, undisturbed["events"][rank])]


@pytest.mark.slow
def test_on_the_same_layout_it_resumes_bit_by_bit(whole: Whole, forked: Forked, tmp_path: Path) -> None:
    run = whole.copy(tmp_path, 4)
    assert forked.train(run, whole.recipe)["status"] == [0, 0]
    assert metrics(run, 1) == whole.curve
    assert files_of_weights(run, 8) == files_of_weights(whole.run, 8)


@pytest.mark.long
def test_data_parallel_2_resumes_as_4(whole: Whole, forked: Forked, tmp_path: Path) -> None:
    run = whole.copy(tmp_path, 4)
    assert forked.train(run, whole.recipe, ranks=4)["status"] == [0] * 4
    assert_same_curve(metrics(run, 1), whole.curve)


@pytest.mark.long
def test_tensor_parallel_2_resumes_as_1(whole: Whole, forked: Forked, tmp_path: Path) -> None:
    run = whole.copy(tmp_path, 2)
    recipe = recipe_file(tmp_path / "two.yaml", tensor_parallel=2)
    assert forked.train(run, recipe)["status"] == [0, 0]
    assert_same_curve(metrics(run, 1), whole.curve)
    two = metrics(run, 1)
    for iteration in (6, 8):
        shutil.rmtree(run.checkpoints(1) / f"iteration_{iteration:07d}")
    assert forked.train(run, whole.recipe, ranks=1)["status"] == [0]
    assert_same_curve(metrics(run, 1), two)


def assert_same_curve(found: list[dict[str, float]], expected: list[dict[str, float]]) -> None:
    for figure, tolerance in (("loss", {"abs": 1e-4}), ("grad_norm", {"rel": 1e-3})):
        assert [line[figure] for line in found] == pytest.approx([line[figure] for line in expected], **tolerance)


@pytest.mark.slow
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(whole: Whole, forked: Forked, tmp_path: Path) -> None:
    run = whole.copy(tmp_path, 2, 4)
    damaged = run.checkpoints(1) / "iteration_0000004" / "weights" / "__1_0.distcp"
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    answer = forked.train(run, whole.recipe)
    assert answer["status"] == [0, 0]
    assert answer["said"][0] == (
        f"{damaged.parents[1]} is damaged (the content of weights/__1_0.distcp has changed): it is set aside as "
        f"iteration_0000004.damaged, and the one before is used."
    )
    assert "3/8" in answer["said"][1]
    assert metrics(run, 1) == whole.curve
    assert [path.name for path in run.checkpoints(1).glob("*.damaged")] == ["iteration_0000004.damaged"]


@pytest.mark.long
def test_a_limit_on_file_sizes_stops_it_and_costs_no_checkpoint(whole: Whole, forked: Forked, tmp_path: Path) -> None:
    run = whole.copy(tmp_path, 2)
    answer = forked.train(run, whole.recipe, fault="limit_file_size")
    assert 2 in answer["status"]
    assert answer["error"] == (
        f"{run.checkpoints(1)}/iteration_0000004: this checkpoint could not be written (rank 0: [Errno 27] File too "
        f"large); the one before it is still there: remove the cause and start again."
    )
    assert_goes_on(whole, forked, run)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of 8 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("mounting a file system needs root")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.long
def test_a_full_disk_stops_it_and_costs_no_checkpoint(whole: Whole, forked: Forked, small_disk: Path) -> None:
    run = whole.copy(small_disk, 2)
    ballast, left = small_disk / "ballast", 300_000
    ballast.write_bytes(bytes(shutil.disk_usage(small_disk).free - left))
    answer = forked.train(run, whole.recipe)
    assert 2 in answer["status"]
    full = r"(\[Errno 28\] )?No space left on device|a file ended too early, as on a full disk"
    assert re.search(
        rf"iteration_0000004: this checkpoint could not be written \((rank \d: )?({full})", answer["error"]
    )
    ballast.unlink()
    assert_goes_on(whole, forked, run)


@pytest.mark.long
def test_a_read_only_file_system_is_said_and_costs_no_checkpoint(
    whole: Whole, forked: Forked, small_disk: Path
) -> None:
    run = whole.copy(small_disk, 2)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    answer = forked.train(run, whole.recipe)
    assert 2 in answer["status"]
    assert answer["error"].endswith("cannot be written, its file system is read-only; choose another folder.")
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    assert_goes_on(whole, forked, run)


@pytest.mark.long
@pytest.mark.parametrize(
    ("fault", "steps", "saved"), [("start_again_after_a_step", 5, [2, 4]), ("start_again_in_a_save", 4, [2])]
)
def test_a_second_start_stops_the_first_before_it_writes_more(
    whole: Whole, forked: Forked, tmp_path: Path, fault: str, steps: int, saved: list[int]
) -> None:
    run = whole.copy(tmp_path, 2)
    answer = forked.train(run, whole.recipe, fault=fault)
    assert 2 in answer["status"]
    assert answer["error"].startswith(f"{run.training}: this run was started again on ")
    assert [line["iteration"] for line in metrics(run, 1)] == list(range(1, steps + 1))
    assert [iteration for iteration, _ in whole_checkpoints(run.checkpoints(1))] == saved
    assert_goes_on(whole, forked, run)


def assert_goes_on(whole: Whole, forked: Forked, run: RunFolder) -> None:
    assert not any(find_damage(path) for _, path in whole_checkpoints(run.checkpoints(1)))
    answer = forked.train(run, whole.recipe)
    assert answer["status"] == [0, 0], answer
    assert metrics(run, 1) == whole.curve


@pytest.mark.long
def test_some_checkpoints_are_kept_for_good(whole: Whole, forked: Forked, tmp_path: Path) -> None:
    run = whole.copy(tmp_path)
    policy = {"every_iterations": 1, "keep_last": 2, "keep_every_iterations": 3}
    recipe = recipe_file(tmp_path / "tiny.yaml", {"checkpoint": policy})
    assert forked.train(run, recipe)["status"] == [0, 0]
    assert [iteration for iteration, _ in whole_checkpoints(run.checkpoints(1))] == [3, 6, 7, 8]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two Hugging Face models that are sure of themselves, and one with first weights as small as they are drawn."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    folder = tmp_path_factory.mktemp("models")
    shape = load_recipe(str(tiny_recipe(folder / "tiny.yaml"))).model.shape
    for seed, (name, spread) in enumerate({"base": 0.3, "another": 0.3, "random": 0.02}.items()):
        torch.manual_seed(seed)
        config = Qwen3Config(**shape.model_dump() | {"initializer_range": spread}, eos_token_id=3, bos_token_id=3)
        Qwen3ForCausalLM(config).save_pretrained(folder / name)
    return {name: folder / name for name in ("base", "another", "random")}


def started_from(
    imported: Path, stated: Path, folder: Path, noted: bool = True, **changes: Any
) -> tuple[RunFolder, Path]:
    """A run into which one model was imported, and a recipe whose base is another, or the same.

    Args:
        noted: the loss of the base lies beside the imported model; else it is computed at the start.
    """
    from convert.import_hf import import_hf

    run, precision = RunFolder(folder / "run"), changes.pop("precision", "32")
    tiny_data(run, phases=1)
    import_hf(imported, run.base_checkpoint, verify=False)
    if noted:
        manifest = run.base_checkpoint / "conversion.json"
        write_json(manifest, read_json(manifest) | {"warm_start": {"loss": loss_of(stated)}})
    recipe = recipe_file(folder / "tiny.yaml", KEPT | {"precision": precision}, **changes)
    content = yaml.safe_load(recipe.read_text())
    content["model"] |= {"init": "hf", "base": str(stated)}
    recipe.write_text(yaml.safe_dump(content))
    return run, recipe


LAYOUTS: dict[str, dict[str, Any]] = {
    "data": {"noted": False},
    "tensor": {"tensor_parallel": 2},
    "pipeline": {"pipeline_parallel": 2, "loss_chunk_tokens": 10},
    "bf16": {"precision": "bf16-mixed"},
}


@pytest.mark.long
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_the_loaded_base_is_proven_in_every_layout(
    forked: Forked, models: dict[str, Path], tmp_path: Path, layout: dict[str, Any]
) -> None:
    run, recipe = started_from(models["base"], models["base"], tmp_path, **layout)
    answer = forked.train(run, recipe)
    assert answer["status"] == [0, 0], answer
    found = re.match(
        r"phase 1 starts from the base model: loss (\S+) on fixed tokens, its own (\S+)", answer["said"][0]
    )
    assert found
    loss, own = map(float, found.groups())
    assert own > 6  # it is sure of itself, and mostly wrong
    assert loss == pytest.approx(own, rel=0.01 if "precision" in layout else 1e-5)


@pytest.mark.long
@pytest.mark.parametrize("name", ["another", "random"])
@pytest.mark.parametrize("precision", ["32", "bf16-mixed"])
def test_other_weights_are_refused_before_the_first_step(
    forked: Forked, models: dict[str, Path], tmp_path: Path, name: str, precision: str
) -> None:
    run, recipe = started_from(models[name], models["base"], tmp_path, precision=precision)
    answer = forked.train(run, recipe)
    assert 2 in answer["status"]
    assert answer["error"].startswith(f"{run.base_checkpoint}: the loaded model has a loss of ")
    assert answer["error"].endswith("so it is not that model; import the base again with `cpt convert import`.")
    assert not run.metrics.is_file() or metrics(run, 1) == []


@pytest.mark.long
def test_a_base_that_is_not_there_cannot_be_proven(forked: Forked, models: dict[str, Path], tmp_path: Path) -> None:
    run, recipe = started_from(models["base"], tmp_path / "gone", tmp_path, noted=False)
    answer = forked.train(run, recipe)
    assert 2 in answer["status"]
    assert answer["error"] == (
        f"{tmp_path}/gone: the base model is not there, so that {run.base_checkpoint} cannot be compared with it; put "
        f"it there for the first start."
    )
