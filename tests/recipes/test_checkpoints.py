import math
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_run import tiny_data, tiny_recipe

from recipes.checkpoints import (
    NAME,
    Start,
    best_checkpoints,
    digests_of_rank,
    final_checkpoint,
    find_damage,
    find_start,
    note_validation,
    prune,
    publish,
    remove_leftovers,
    set_aside,
    validation_loss,
    whole_checkpoints,
    writing_name,
)
from recipes.errors import UserError
from recipes.layout import RunFolder
from recipes.load import load_recipe
from recipes.schema import Checkpoint

LEFT = [
    "iteration_0000006",
    "iteration_0000006-unfinished",
    "iteration_0000006-attempt_1",
    "iteration_0000003-attempt_12",
    "iteration_0000006-attempt_2-unfinished",
    "iteration_0000002-17.removed",
    "iteration_0000003-17.removed",
    "iteration_0000002.removed",
]


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
    prune(run.checkpoints(1), Checkpoint(every_iterations=1))
    assert sorted(run.checkpoints(1).iterdir()) == paths[1:]


def test_prune_keeps_every_so_many_for_good(run: RunFolder) -> None:
    _save(run, 1, *range(1, 11))
    prune(run.checkpoints(1), Checkpoint(every_iterations=1, keep_every_iterations=3))
    assert [iteration for iteration, _ in whole_checkpoints(run.checkpoints(1))] == [3, 6, 9, 10]


def _validated(run: RunFolder, losses: dict[int, dict[str, float]]) -> None:
    for path, domains in zip(_save(run, 1, *losses), losses.values(), strict=True):
        note_validation(path, sum(domains.values()), domains)


LOSSES = {
    1: {"legal": 3.0, "general": 1.0},
    2: {"legal": 2.0, "general": 2.0},
    3: {"legal": math.nan, "general": math.nan},
    4: {"legal": 2.0, "general": 2.5},
    5: {"legal": 4.0, "general": 9.0},
    6: {"legal": 5.0, "general": 9.0},
}


@pytest.mark.parametrize(("by", "best"), [(None, [2, 1]), ("legal", [4, 2]), ("general", [1, 2])])
def test_prune_keeps_the_best_for_good(run: RunFolder, by: str | None, best: list[int]) -> None:
    _validated(run, LOSSES)
    _save(run, 1, 7)  # not validated
    folder = run.checkpoints(1)
    policy = Checkpoint(every_iterations=1, keep_last=2, keep_best=2, best_by=by)
    prune(folder, policy)
    assert [iteration for iteration, _ in whole_checkpoints(folder)] == sorted({*best, 6, 7})
    assert [path.name for path in best_checkpoints(folder, by)[:2]] == [NAME.format(iteration) for iteration in best]
    assert (folder / "best").readlink() == Path(NAME.format(best[0]))
    prune(folder, policy.model_copy(update={"keep_best": 1, "keep_last": 1}))
    assert [iteration for iteration, _ in whole_checkpoints(folder)] == sorted({best[0], 7})
    remove_leftovers(folder)
    assert (folder / "best" / "weights" / "metadata.json").is_file()


@given(st.lists(st.floats(0, 9), min_size=1, max_size=9), st.integers(1, 3), st.integers(0, 3))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_pruning_at_every_save_keeps_the_best_of_all(
    tmp_path: Path, losses: list[float], keep_last: int, keep_best: int
) -> None:
    run = RunFolder(Path(tempfile.mkdtemp(dir=tmp_path)))
    for iteration, loss in enumerate(losses, 1):
        _validated(run, {iteration: {"legal": loss}})
        prune(run.checkpoints(1), Checkpoint(every_iterations=1, keep_last=keep_last, keep_best=keep_best))
    kept = {iteration for iteration, _ in whole_checkpoints(run.checkpoints(1))}
    numbers = range(1, len(losses) + 1)
    best = sorted(numbers, key=lambda number: (losses[number - 1], -number))[:keep_best]
    assert kept == {*numbers[-keep_last:], *best}


def test_a_loss_is_part_of_what_is_checked(run: RunFolder) -> None:
    written, target = _write(run, 4), run.checkpoints(1) / NAME.format(4)
    note_validation(written, 2.0, {"legal": 2.0})
    publish(written, target, [digests_of_rank(written, rank) for rank in range(2)])
    assert (validation_loss(target), find_damage(target)) == (2.0, None)
    note_validation(target, 1.0, {"legal": 1.0})
    assert find_damage(target) == "the content of validation.json has changed"


def _write(run: RunFolder, iteration: int, attempt: int = 1) -> Path:
    """A checkpoint of two ranks as it is being written."""
    written = writing_name(run.checkpoints(1) / NAME.format(iteration), attempt)
    (written / "weights").mkdir(parents=True)
    for name in ("__0_0.distcp", "__0_1.distcp", "__1_0.distcp", "common___1_1.distcp", ".metadata", "metadata.json"):
        (written / "weights" / name).write_text(f"{name} of {attempt}")
    return written


def test_a_checkpoint_counts_when_it_is_published_with_the_digests_of_all_ranks(run: RunFolder) -> None:
    written, target = _write(run, 4), run.checkpoints(1) / NAME.format(4)
    assert whole_checkpoints(run.checkpoints(1)) == []
    of_ranks = [digests_of_rank(written, rank) for rank in range(2)]
    assert sorted(of_ranks[1]) == ["weights/__1_0.distcp", "weights/common___1_1.distcp"]
    publish(written, target, of_ranks)
    assert whole_checkpoints(run.checkpoints(1)) == [(4, target)]
    assert list(run.checkpoints(1).iterdir()) == [target]
    assert [find_damage(target, rank, 3) for rank in range(3)] == [None, None, None]


def test_a_newer_checkpoint_of_the_same_name_takes_the_place_of_an_older(run: RunFolder) -> None:
    target = run.checkpoints(1) / NAME.format(4)
    for attempt in (1, 2):
        written = _write(run, 4, attempt)
        publish(written, target, [digests_of_rank(written, rank) for rank in range(2)])
    assert (target / "weights" / "__1_0.distcp").read_text() == "__1_0.distcp of 2"
    assert list(run.checkpoints(1).iterdir()) == [target]


@pytest.mark.parametrize("name", ["weights/__0_1.distcp", "weights/common___1_1.distcp", "weights/.metadata"])
def test_damage_is_found_by_exactly_one_rank_whatever_it_is(run: RunFolder, name: str) -> None:
    written, target = _write(run, 4), run.checkpoints(1) / NAME.format(4)
    publish(written, target, [digests_of_rank(written, rank) for rank in range(2)])
    (target / name).write_text((target / name).read_text().upper())
    findings = [find_damage(target, rank, 3) for rank in range(3)]
    assert sorted(filter(None, findings)) == [f"the content of {name} has changed"]
    (target / "digests.json").write_text("[]")
    assert find_damage(target) == "digests.json is missing or unreadable"
    (target / "digests.json").unlink()
    assert find_damage(target) == "digests.json is missing or unreadable"


def test_a_damaged_checkpoint_is_set_aside_and_stays_there(run: RunFolder) -> None:
    for _ in range(2):
        first, second = _save(run, 1, 3, 6)
        aside = set_aside(second)
        remove_leftovers(run.checkpoints(1))
        assert whole_checkpoints(run.checkpoints(1)) == [(3, first)]
        assert sorted(run.checkpoints(1).iterdir()) == [first, aside]
        shutil.rmtree(first)


@given(st.lists(st.sampled_from(LEFT), unique=True))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_leftover_stops_a_start(tmp_path: Path, left: list[str]) -> None:
    run = RunFolder(Path(tempfile.mkdtemp(dir=tmp_path)))
    (whole,) = _save(run, 1, 3)
    for name in left:
        path = run.checkpoints(1) / name
        if name.endswith("-unfinished"):
            path.touch()
        else:
            (path / "weights").mkdir(parents=True)
            (path / "weights" / "__0_0.distcp").touch()
    remove_leftovers(run.checkpoints(1))
    assert list(run.checkpoints(1).iterdir()) == [whole]


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


def test_checkpoints_that_are_kept_must_be_written(tmp_path: Path) -> None:
    path = str(tiny_recipe(tmp_path / "tiny.yaml", every=3))
    assert load_recipe(path, ["checkpoint.keep_every_iterations=6"]).checkpoint.keep_every_iterations == 6
    with pytest.raises(UserError, match=r"keep_every_iterations \(4\) must be a multiple of every_iterations \(3\)"):
        load_recipe(path, ["checkpoint.keep_every_iterations=4"])
