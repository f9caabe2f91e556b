"""Three ranks in three threads agree on a start, without NeMo."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch.distributed as dist
from tiny_run import tiny_data, tiny_recipe

from recipes.attempts import Attempt
from recipes.checkpoints import NAME, Start, digests_of_rank, publish, writing_name
from recipes.engine.start import Ranks, agree_on_start
from recipes.errors import UserError
from recipes.layout import RunFolder
from recipes.load import load_recipe

RANKS = 3
FILES = [".metadata", "common.pt", "metadata.json", "__0_0.distcp", "__1_0.distcp", "__2_0.distcp"]


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    run = RunFolder(tmp_path / "run")
    tiny_data(run)
    for phase, iteration in ((1, 6), (1, 8), (2, 3), (2, 6)):
        checkpoint = run.checkpoints(phase) / NAME.format(iteration)
        written = writing_name(checkpoint, 1)
        (written / "weights").mkdir(parents=True)
        for name in FILES:
            (written / "weights" / name).write_text(f"{name} of {iteration}")
        publish(written, checkpoint, [digests_of_rank(written, rank) for rank in range(RANKS)])
    return run


def agree(run: RunFolder, folder: Path, phase: int = 2) -> tuple[Start, Attempt, list[str]]:
    """What every rank has found, and what was said."""
    recipe, store = load_recipe(str(tiny_recipe(folder / "tiny.yaml"))), dist.HashStore()
    said: list[str] = []
    with ThreadPoolExecutor(RANKS) as pool:
        ranks = [Ranks(store, rank, RANKS) for rank in range(RANKS)]
        first, *others = pool.map(lambda one: agree_on_start(one, recipe, run, phase, said.append), ranks)
        list(pool.map(Ranks.leave, ranks))
    assert others == [first] * (RANKS - 1)
    return *first, said


def damage(run: RunFolder, phase: int, iteration: int, file: str = "__2_0.distcp") -> Path:
    checkpoint = run.checkpoints(phase) / NAME.format(iteration)
    (checkpoint / "weights" / file).write_text("")
    return checkpoint


def test_the_newest_checkpoint_is_taken_and_leftovers_go(run: RunFolder, tmp_path: Path) -> None:
    (run.checkpoints(2) / "iteration_0000007-attempt_1" / "weights").mkdir(parents=True)
    newest = run.checkpoints(2) / NAME.format(6)
    assert agree(run, tmp_path) == (Start(newest, iteration=6), Attempt(run.training / "attempts", 1), [])
    assert agree(run, tmp_path)[1].number == 2
    assert len(list(run.checkpoints(2).iterdir())) == 2


@pytest.mark.parametrize("file", FILES)
def test_whichever_rank_finds_the_damage_all_use_the_one_before(run: RunFolder, tmp_path: Path, file: str) -> None:
    damaged = damage(run, 2, 6, file)
    start, _, said = agree(run, tmp_path)
    assert start == Start(run.checkpoints(2) / NAME.format(3), iteration=3)
    assert said == [
        f"{damaged} is damaged (weights/{file} has 0 bytes, not {len(file) + 5}): it is set aside as "
        f"iteration_0000006.damaged, and the one before is used."
    ]


def test_when_all_are_damaged_the_phase_starts_again(run: RunFolder, tmp_path: Path) -> None:
    damage(run, 2, 3), damage(run, 2, 6)
    start, _, said = agree(run, tmp_path)
    assert start == Start(run.checkpoints(1) / NAME.format(8)) and len(said) == 2


def test_a_damaged_end_of_the_phase_before_makes_it_unfinished(run: RunFolder, tmp_path: Path) -> None:
    damage(run, 2, 3), damage(run, 2, 6), damage(run, 1, 8)
    recipe, said = load_recipe(str(tiny_recipe(tmp_path / "tiny.yaml"))), list[str]()
    with pytest.raises(UserError, match=r"phase 1 is not finished in .*; train it before phase 2\.$"):
        agree_on_start(Ranks(dist.HashStore(), 0, 1), recipe, run, 2, said.append)
    assert len(said) == 3
    assert agree(run, tmp_path, phase=1)[0] == Start(run.checkpoints(1) / NAME.format(6), iteration=6)
