import json
import shutil
from pathlib import Path

import pytest
from tiny_run import tiny_held_out

from data_prep.mixture import build
from launch.allocation import Allocation, as_allocated
from launch.preflight import preflight
from launch.train import train
from recipes.errors import UserError
from recipes.layout import RunFolder
from recipes.load import load_cluster, load_recipe

TINY, TWO = load_recipe("qwen3_tiny"), load_cluster("local")
LEGAL = [f"phases.{number}.mixture={{legal: 1.0}}" for number in range(1, 5)]


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run folder whose phase 1 can start, as far as file names tell."""
    run = RunFolder(tmp_path)
    (run.base_checkpoint / "weights").mkdir(parents=True)
    (run.base_checkpoint / "weights" / "metadata.json").touch()
    run.phase(1).mkdir(parents=True)
    for suffix in (".idx", ".bin"):
        (run.phase(1) / f"laws{suffix}").touch()
    blend = {"prefixes": ["laws"], "sequence_length": 256, "global_batch_size": 8, "iterations": 48, "seed": 1234}
    (run.phase(1) / "blend.json").write_text(json.dumps(blend | {"separator_id": 0, "vocab_size": 8192, "digest": "0"}))
    tiny_held_out(run)
    return run


def test_ready(run):
    (identity,) = preflight(TINY, TWO, run, [1])
    assert (identity.data_parallel, identity.accumulation) == (2, 1)


def test_batch_does_not_fit_the_job(run):
    with pytest.raises(
        UserError, match=r"qwen3_tiny on 3 ranks: phase general: global_batch_size \(8\) is not a multiple"
    ):
        preflight(TINY, as_allocated(TWO, Allocation(nodes=1, ranks=3)), run, [1])


def test_nothing_to_validate_on(run):
    (run.heldout / "receipt.json").unlink()
    with pytest.raises(UserError, match=r"heldout/receipt.json: validation needs the held-out documents"):
        preflight(TINY, TWO, run, [1])


def test_no_base(run):
    (run.base_checkpoint / "weights" / "metadata.json").unlink()
    with pytest.raises(UserError, match=r"base_checkpoint: .*import"):
        preflight(TINY, TWO, run, [1])


def test_no_mixture_of_the_second_phase(run):
    with pytest.raises(UserError, match=r"phases/2.*build_mixture\.py"):
        preflight(TINY, TWO, run, [1, 2])


def test_a_lost_shard_behind_a_link(run):
    (run.phase(1) / "laws.bin").unlink()
    (run.phase(1) / "laws.bin").symlink_to("../../shards/laws/documents.bin")
    with pytest.raises(UserError, match=r"laws\.bin: missing"):
        preflight(TINY, TWO, run, [1])


@pytest.fixture
def built(run, tmp_path):
    """Shards and phase 1 of a recipe, as they lie on disk after data_prep."""
    texts = "".join(json.dumps({"text": f"kanun madde {number} " * 20}) + "\n" for number in range(3_000))
    (tmp_path / "laws.jsonl").write_text(texts)
    source = {"name": "laws", "domain": "legal", "files": ["laws.jsonl"], "language": "tr", "licence": "none"}
    (tmp_path / "corpus.yaml").write_text(json.dumps({"name": "laws", "cleaning": "basic", "sources": [source]}))
    shutil.rmtree(run.phase(1))
    recipe = load_recipe("qwen3_tiny", LEGAL)
    build(recipe, tmp_path / "corpus.yaml", run, [1])
    return recipe


@pytest.mark.parametrize(
    ("file", "size", "said"),
    [
        ("shards/laws/documents.bin", 1000, r"shards/laws/documents\.bin: size check: it has 1000 bytes"),
        ("shards/laws/documents.idx", 1000, r"shards/laws/documents\.idx: size check: 1000 bytes for \d+ sequences"),
        ("phases/1/laws.idx", 20, r"phases/1/laws\.idx: header check: .*; build the mixture of phase 1 again\.$"),
    ],
)
def test_a_truncated_file(run, built, file, size, said):
    """A token that is cut off would be missed days later."""
    preflight(built, TWO, run, [1])
    with (run.root / file).open("r+b") as stream:
        stream.truncate(size)
    with pytest.raises(UserError, match=said):
        preflight(built, TWO, run, [1])


def test_training_on_this_machine_looks_as_well(run, built):
    (run.phase(1) / "laws.idx").write_bytes(b"")
    with pytest.raises(UserError, match=r"laws\.idx: header check: the file has 0 bytes"):
        train("qwen3_tiny", LEGAL, "local", run, [1])
    assert not run.training.exists()  # no rank was started


def test_a_bin_that_was_rewritten_in_place(run, built):
    """Its structure is as it was, so the lock knows it by its time and, before the first start, its receipt."""
    path = run.phase(1) / "laws.bin"
    whole = path.read_bytes()
    path.write_bytes(whole[::-1])
    with pytest.raises(
        UserError, match=r"laws\.bin: it was written again since its receipt, with other content; build"
    ):
        preflight(built, TWO, run, [1])
    path.write_bytes(whole)
    preflight(built, TWO, run, [1])
    path.write_bytes(whole[::-1])
    with pytest.raises(UserError, match=r"started with files\.1\.laws\.bin\.modified = "):
        preflight(built, TWO, run, [1])


def test_no_image(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mn5 = as_allocated(load_cluster("mn5"), Allocation(nodes=1, ranks=4))
    with pytest.raises(UserError, match=f"{tmp_path}/containers/nemo.sif: the container image is not there"):
        preflight(load_recipe("qwen3_tiny", ["phases.1.micro_batch_size=1"]), mn5, run, [1])
