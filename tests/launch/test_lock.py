import json
from pathlib import Path

import pytest
from tiny_run import tiny_data, tiny_recipe

from launch.lock import hold_lock, one_at_a_time
from recipes.cluster import Container
from recipes.errors import UserError
from recipes.layout import RunFolder
from recipes.load import load_recipe
from recipes.schema import Recipe


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    run = RunFolder(tmp_path / "run")
    tiny_data(run)
    return run


def recipe(tmp_path: Path, *overrides: str) -> Recipe:
    return load_recipe(str(tiny_recipe(tmp_path / "tiny.yaml")), overrides)


def test_the_same_start_is_let_through_and_new_phases_are_added(run: RunFolder, tmp_path: Path) -> None:
    for phases in ([1], [1], [2], [1, 2]):
        hold_lock(run, recipe(tmp_path), phases)
    assert list(json.loads((run.root / "run.lock.json").read_text())["data"]) == ["1", "2"]


def test_a_changed_recipe_is_refused_by_its_field(run: RunFolder, tmp_path: Path) -> None:
    hold_lock(run, recipe(tmp_path), [1])
    with pytest.raises(UserError, match=r"recipe\.phases\.2\.schedule\.max_lr = 0\.01, now it is 0\.02"):
        hold_lock(run, recipe(tmp_path, "phases.2.schedule.max_lr=0.02"), [1])


def test_layout_checkpoints_and_the_place_of_the_base_may_change(run: RunFolder, tmp_path: Path) -> None:
    hold_lock(run, recipe(tmp_path), [1])
    changes = ["phases.1.tensor_parallel=2", "checkpoint.every_iterations=9", "model.base=elsewhere"]
    hold_lock(run, recipe(tmp_path, *changes), [1])


def test_another_container_image_is_refused(run: RunFolder, tmp_path: Path) -> None:
    image = tmp_path / "nemo.sif"
    image.write_text("one")
    container = Container(kind="singularity", image=str(image))
    hold_lock(run, recipe(tmp_path), [1], container)
    image.write_text("another")
    with pytest.raises(UserError, match=r"software\.bytes = 3, now it is 7"):
        hold_lock(run, recipe(tmp_path), [1], container)


def test_a_second_launcher_is_refused_until_the_first_has_ended(run: RunFolder) -> None:
    with one_at_a_time(run), pytest.raises(UserError, match="being trained by another process"), one_at_a_time(run):
        pass
    with one_at_a_time(run):
        pass


def test_other_data_is_refused_by_its_phase(run: RunFolder, tmp_path: Path) -> None:
    hold_lock(run, recipe(tmp_path), [1, 2])
    tiny_data(run, iterations=9)
    with pytest.raises(UserError, match=r"data\.1 = 'phase 1 of 8', now it is 'phase 1 of 9'"):
        hold_lock(run, recipe(tmp_path), [1])


def test_another_base_is_refused(run: RunFolder, tmp_path: Path) -> None:
    manifest = run.base_checkpoint / "conversion.json"
    manifest.parent.mkdir()
    manifest.write_text('{"digest": "a"}')
    hold_lock(run, recipe(tmp_path), [1])
    manifest.write_text('{"digest": "b"}')
    with pytest.raises(UserError, match="base = 'a', now it is 'b'"):
        hold_lock(run, recipe(tmp_path), [1])
