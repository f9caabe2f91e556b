from pathlib import Path

import pytest
from tiny_run import tiny_data, tiny_recipe

from recipes.checkpoints import NAME, Start, final_checkpoint, find_start, prune, remove_leftovers, whole_checkpoints
from recipes.errors import UserError
from recipes.layout import RunFolder
from recipes.load import load_recipe


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    run = RunFolder(tmp_path / "run")
    tiny_data(run, iterations=8)
    return run


def _save(run: RunFolder, phase: int, *iterations: int) -> list[Path]:
    paths = [run.checkpoints(phase) / NAME.format(iteration) for iteration in iterations]
    for path in paths:
        (path / "weights").mkdir(parents=True)
        (path / "weights" / "metadata.json").touch()
    return paths


def test_a_phase_is_finished_with_its_last_iteration(run: RunFolder) -> None:
    assert final_checkpoint(run, 1) is None
    _save(run, 1, 6)
    assert final_checkpoint(run, 1) is None
    (last,) = _save(run, 1, 8)
    assert final_checkpoint(run, 1) == last


def test_half_written_checkpoints_do_not_count_and_are_removed(run: RunFolder) -> None:
    whole, marked = _save(run, 1, 3, 6)
    marked.with_name(marked.name + "-unfinished").touch()
    empty = run.checkpoints(1) / NAME.format(7)
    empty.mkdir()
    assert whole_checkpoints(run.checkpoints(1)) == [(3, whole)]
    remove_leftovers(run.checkpoints(1))
    assert list(run.checkpoints(1).iterdir()) == [whole]


def test_prune_keeps_the_newest(run: RunFolder) -> None:
    paths = _save(run, 1, 1, 2, 10)
    prune(run.checkpoints(1), keep_last=2)
    assert sorted(run.checkpoints(1).iterdir()) == paths[1:]


def test_start_prefers_own_then_previous_then_base(run: RunFolder, tmp_path: Path) -> None:
    recipe = load_recipe(str(tiny_recipe(tmp_path / "tiny.yaml", optimizer_state="carry")))
    assert find_start(recipe, run, 1) == Start(None)
    (last,) = _save(run, 1, 8)
    assert find_start(recipe, run, 2) == Start(last, optimizer=True)
    (own,) = _save(run, 2, 3)
    assert find_start(recipe, run, 2) == Start(own, iteration=3)


def test_missing_predecessor_and_missing_base_are_said(run: RunFolder, tmp_path: Path) -> None:
    path = str(tiny_recipe(tmp_path / "tiny.yaml"))
    with pytest.raises(UserError, match=r"phase 1 is not finished in .*; train it before phase 2\.$"):
        find_start(load_recipe(path), run, 2)
    recipe = load_recipe(path, ["model.init=hf", "model.base=models/base"])
    with pytest.raises(
        UserError, match=r"base_checkpoint: there is no base checkpoint; import models/base with .cpt convert import"
    ):
        find_start(recipe, run, 1)
