import json
import os
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
from tiny_run import tiny_data, tiny_recipe

from launch.lock import hold_lock, one_at_a_time, refuse_other_recipe
from recipes.artifacts import file_digest, read_json, write_json
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


def test_a_card_is_not_written_from_another_recipe(run: RunFolder, tmp_path: Path) -> None:
    refuse_other_recipe(run, recipe(tmp_path))
    hold_lock(run, recipe(tmp_path), [1])
    refuse_other_recipe(run, recipe(tmp_path, "model.base=elsewhere"))
    with pytest.raises(UserError, match=r"trained with model\.hf_id = None, recipe qwen3_4b says 'Qwen"):
        refuse_other_recipe(run, load_recipe("qwen3_4b").model_copy(update={"phases": recipe(tmp_path).phases}))


def test_what_observes_layout_checkpoints_and_the_place_of_the_base_may_change(run: RunFolder, tmp_path: Path) -> None:
    hold_lock(run, recipe(tmp_path), [1])
    changes = ["phases.1.tensor_parallel=2", "checkpoint.every_iterations=9", "model.base=elsewhere"]
    changes += ["validation={every_iterations: 5, tokens_per_source: 9}", "samples={every_iterations: 5, prompts: [a]}"]
    hold_lock(run, recipe(tmp_path, *changes, "faults.nonfinite=skip"), [1])


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


def test_another_seed_is_refused(run: RunFolder, tmp_path: Path) -> None:
    hold_lock(run, recipe(tmp_path), [1])
    with pytest.raises(UserError) as refused:
        hold_lock(run, recipe(tmp_path, "seed=7"), [1])
    assert str(refused.value) == (
        f"{run.lock}: this run was started with recipe.seed = 1234, now it is 7; go back to that, start a run of its "
        f"own with another --run folder, or take it on with --accept-change recipe.seed."
    )


def test_where_a_run_is_shown_may_change(run: RunFolder, tmp_path: Path) -> None:
    hold_lock(run, recipe(tmp_path), [1])
    hold_lock(run, recipe(tmp_path, "wandb.project=tiny"), [1])
    assert read_json(run.lock)["history"] == []


def test_another_budget_is_refused(run: RunFolder, tmp_path: Path) -> None:
    hold_lock(run, recipe(tmp_path), [1])
    with pytest.raises(UserError, match=r"recipe\.phases\.2\.token_budget = 1024, now it is 2048;"):
        hold_lock(run, recipe(tmp_path, "phases.2.token_budget=2048"), [1])


def test_another_tokenizer_is_refused_by_name_and_by_content(run: RunFolder, tmp_path: Path) -> None:
    file = tmp_path / "tokenizer" / "tokenizer.json"
    file.parent.mkdir()
    file.write_text("{}")
    own = f"tokenizer.path={file.parent}"
    hold_lock(run, recipe(tmp_path, own), [1])
    with pytest.raises(UserError, match=r"recipe\.tokenizer\.path = '.*', now it is 'bundled:qwen3'"):
        hold_lock(run, recipe(tmp_path, "tokenizer.path=bundled:qwen3"), [1])
    file.write_text("{ }")
    with pytest.raises(UserError, match=r"with tokenizer = '44136fa3.*', now it is"):
        hold_lock(run, recipe(tmp_path, own), [1])
    file.unlink()  # training does not need it
    hold_lock(run, recipe(tmp_path, own), [1])


@pytest.mark.parametrize("file", ["first.bin", "second.idx"])
def test_a_rewritten_shard_is_refused_and_a_touched_one_is_not(run: RunFolder, tmp_path: Path, file: str) -> None:
    path, blend = run.phase(1) / file, run.phase(1) / "blend.json"
    stated = {"slices": {file: file_digest(path)}}
    if file.endswith(".bin"):  # most are links to a shard
        stated = {"shards": {"first": {"documents.idx": "", "documents.bin": file_digest(path)}}}
    write_json(blend, read_json(blend) | stated)
    hold_lock(run, recipe(tmp_path), [1])
    os.utime(path, (1, 1))
    hold_lock(run, recipe(tmp_path), [1])
    assert read_json(run.lock)["files"]["1"][file]["modified"] == "1970-01-01T00:00:01+00:00"
    path.write_bytes(path.read_bytes()[::-1])
    with pytest.raises(UserError, match=rf"files\.1\.{file}\.modified = '1970-01-01T00:00:01\+00:00', now it is"):
        hold_lock(run, recipe(tmp_path), [1])
    path.write_bytes(path.read_bytes() + b"more")
    with pytest.raises(UserError, match=rf"files\.1\.{file}\.bytes = "):
        hold_lock(run, recipe(tmp_path), [1])


@pytest.mark.parametrize(
    "damage",
    [
        lambda lock: [lock],
        lambda lock: lock | {"data": [1]},
        lambda lock: lock | {"files": {"1": {"first.bin": 7}}},
        lambda lock: lock | {"files": {"1": {"first.bin": {"bytes": 7}}}},
        lambda lock: lock | {"history": [{"feld": "recipe.seed"}]},
    ],
)
def test_a_damaged_lock_is_one_sentence(
    run: RunFolder, tmp_path: Path, damage: Callable[[dict[str, object]], object]
) -> None:
    hold_lock(run, recipe(tmp_path), [1])
    write_json(run.lock, damage(read_json(run.lock)))
    for use in (lambda: hold_lock(run, recipe(tmp_path), [1]), lambda: refuse_other_recipe(run, recipe(tmp_path))):
        with pytest.raises(UserError, match=r"run\.lock\.json: (the file is damaged|expected fields by name).*restore"):
            use()


@pytest.mark.parametrize("file", ["first.bin", "second.idx"])
def test_what_was_rewritten_before_the_first_start_is_refused_and_what_was_touched_is_not(
    run: RunFolder, tmp_path: Path, file: str
) -> None:
    path, blend = run.phase(1) / file, run.phase(1) / "blend.json"
    whole, stated = path.read_bytes(), {"slices": {file: file_digest(path)}}
    if file.endswith(".bin"):
        stated = {"shards": {"first": {"documents.idx": "", "documents.bin": file_digest(path)}}}
    write_json(blend, read_json(blend) | stated)
    write_json(blend.with_name("manifest.json"), {})
    for content in (whole[::-1], whole):
        path.write_bytes(content)
        os.utime(path, (2e9, 2e9))
        with nullcontext() if content == whole else pytest.raises(UserError, match=rf"{file}: it was written again"):
            hold_lock(run, recipe(tmp_path), [1])


def test_an_accepted_change_is_noted_once_and_holds_from_then_on(run: RunFolder, tmp_path: Path) -> None:
    hold_lock(run, recipe(tmp_path), [1])
    assert read_json(run.lock)["history"] == []
    changed = recipe(tmp_path, "optimizer.weight_decay=0.2")
    for _ in range(2):  # a requeued job says it again
        hold_lock(run, changed, [1], accept=["recipe.optimizer"])
    (note,) = read_json(run.lock)["history"]
    assert note | {"accepted": ""} == {
        "accepted": "",
        "field": "recipe.optimizer.weight_decay",
        "before": 0.01,
        "now": 0.2,
    }
    with pytest.raises(UserError, match=r"recipe\.optimizer\.weight_decay = 0\.2, now it is 0\.01;"):
        hold_lock(run, recipe(tmp_path), [1])


def test_accepting_one_change_does_not_let_another_through(run: RunFolder, tmp_path: Path) -> None:
    hold_lock(run, recipe(tmp_path), [1])
    before = run.lock.read_bytes()
    with pytest.raises(UserError, match=r"recipe\.seed = 1234"):
        hold_lock(run, recipe(tmp_path, "seed=7", "optimizer.weight_decay=0.2"), [1], accept=["recipe.optimizer"])
    with pytest.raises(UserError, match=r"^--accept-change recipe\.seed: nothing of that name has changed in this run"):
        hold_lock(run, recipe(tmp_path), [1], accept=["recipe.seed"])
    assert run.lock.read_bytes() == before
