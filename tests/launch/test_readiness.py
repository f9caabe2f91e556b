"""Everything that is missing is said in a sentence, by a process that imports neither torch nor NeMo."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_run import tiny_cluster, tiny_data, tiny_recipe

from launch.readiness import check_parts, unfinished_phases
from launch.train import train
from recipes.checkpoints import digests_of_rank, write_digests
from recipes.errors import UserError
from recipes.layout import RunFolder
from recipes.load import load_recipe

ROOT = Path(__file__).parents[2]


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    run = RunFolder(tmp_path / "run")
    tiny_data(run)
    return run


def test_all_phases_are_left_at_first(run: RunFolder, tmp_path: Path) -> None:
    assert unfinished_phases(load_recipe(str(tiny_recipe(tmp_path / "tiny.yaml"))), run, [2, 1], 2) == [1, 2]


def test_a_phase_whose_last_checkpoint_lost_bytes_is_left(run: RunFolder, tmp_path: Path) -> None:
    recipe = load_recipe(str(tiny_recipe(tmp_path / "tiny.yaml")))
    end = run.checkpoints(1) / "iteration_0000008"
    (end / "weights").mkdir(parents=True)
    metadata = end / "weights" / "metadata.json"
    metadata.write_bytes(b"{}")
    assert unfinished_phases(recipe, run, [1, 2], 2) == [2]  # as NeMo alone would save it
    write_digests(end, [digests_of_rank(end, 0)])
    for content, left in ((b"{}", [2]), (b"[]", [2]), (b"{", [1, 2])):  # the same size is for those who read it
        metadata.write_bytes(content)
        assert unfinished_phases(recipe, run, [1, 2], 2) == left
    metadata.write_bytes(b"{}")
    (end / "digests.json").write_text("[")
    assert unfinished_phases(recipe, run, [1, 2], 2) == [1, 2]


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("phases.1.sequence_length=16", "built for sequence_length 32, the recipe says 16; rebuild it"),
        ("phases.1.micro_batch_size=4", "global_batch_size .4. is not a multiple of micro_batch_size × data_parallel"),
        ("phases.1.tensor_parallel=4", "does not divide the 2 ranks"),
        ("model.shape.vocab_size=128", "tokenized with 256 ids, the model has vocab_size 128"),
    ],
)
def test_what_does_not_fit_is_named(run: RunFolder, tmp_path: Path, override: str, sentence: str) -> None:
    recipe = load_recipe(str(tiny_recipe(tmp_path / "tiny.yaml")), [override])
    with pytest.raises(UserError, match=sentence):
        unfinished_phases(recipe, run, [1], 2)


def test_context_parallelism_needs_what_is_not_installed(run: RunFolder, tmp_path: Path) -> None:
    recipe = load_recipe(str(tiny_recipe(tmp_path / "tiny.yaml")), ["phases.1.context_parallel=2"])
    with pytest.raises(UserError, match="context_parallel > 1 needs Transformer Engine"):
        check_parts(recipe, [1])


def test_wandb_is_asked_for_by_name_where_it_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    recipe = load_recipe(str(tiny_recipe(tmp_path / "tiny.yaml", wandb={"project": "tiny"})))
    with pytest.raises(UserError, match="`wandb` needs W&B, which is not installed here; run pip install"):
        check_parts(recipe, [1])
    check_parts(load_recipe(str(tiny_recipe(tmp_path / "tiny.yaml"))), [1])


def test_a_cluster_of_many_machines_is_not_trained_here(run: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="mn5 has 100 nodes"):
        train(str(tiny_recipe(tmp_path / "tiny.yaml")), [], "mn5", run, [1])


def test_a_rank_says_what_is_missing_once_and_stops_with_2(run: RunFolder, tmp_path: Path) -> None:
    (run.phase(1) / "blend.json").unlink()
    first = _rank(run, tmp_path, "0")
    assert first.returncode == 2
    assert first.stderr.count("\n") == 1
    assert "phase 1 has no mixture; build it with python data_prep/build_mixture.py --phase 1" in first.stderr
    second = _rank(run, tmp_path, "1")
    assert (second.returncode, second.stderr) == (2, "")


def test_checking_needs_no_torch(run: RunFolder, tmp_path: Path) -> None:
    script = "import sys, launch.rank, launch.train; assert not {'torch', 'nemo', 'megatron'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)


def _rank(run: RunFolder, folder: Path, rank: str) -> "subprocess.CompletedProcess[str]":
    recipe, cluster = tiny_recipe(folder / "tiny.yaml"), tiny_cluster(folder / "two.yaml", 2)
    command = ["-m", "launch.rank", "--run", str(run.root), "--recipe", str(recipe), "--cluster", str(cluster)]
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "MASTER_ADDR", "MASTER_PORT")
    environment = os.environ | dict(zip(names, (rank, "2", rank, "2", "0", "127.0.0.1", "1"), strict=True))
    return subprocess.run([sys.executable, *command], capture_output=True, text=True, env=environment, cwd=ROOT)
