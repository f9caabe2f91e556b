import json
import shutil
from pathlib import Path

import pytest

from data_prep.mixture import build
from launch.allocation import Allocation, as_allocated
from launch.preflight import preflight
from recipes.errors import UserError
from recipes.layout import RunFolder
from recipes.load import load_cluster, load_recipe

TINY, TWO = load_recipe("qwen3_tiny"), load_cluster("local")


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
    return run


def test_ready(run):
    (identity,) = preflight(TINY, TWO, run, [1])
    assert (identity.data_parallel, identity.accumulation) == (2, 1)


def test_batch_does_not_fit_the_job(run):
    with pytest.raises(
        UserError, match=r"qwen3_tiny on 3 ranks: phase general: global_batch_size \(8\) is not a multiple"
    ):
        preflight(TINY, as_allocated(TWO, Allocation(nodes=1, ranks=3)), run, [1])


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


def test_damaged_data(run, tmp_path):
    """As it lies on disk after data_prep; the token that is cut off would be missed days later."""
    texts = "".join(json.dumps({"text": f"kanun madde {number} " * 20}) + "\n" for number in range(3_000))
    (tmp_path / "laws.jsonl").write_text(texts)
    source = {"name": "laws", "domain": "legal", "files": ["laws.jsonl"], "language": "tr", "licence": "none"}
    (tmp_path / "corpus.yaml").write_text(json.dumps({"name": "laws", "cleaning": "basic", "sources": [source]}))
    shutil.rmtree(run.phase(1))
    recipe = load_recipe("qwen3_tiny", [f"phases.{number}.mixture={{legal: 1.0}}" for number in range(1, 5)])
    build(recipe, tmp_path / "corpus.yaml", run, [1])
    preflight(recipe, TWO, run, [1])
    with (run.shards / "laws" / "documents.bin").open("r+b") as stream:
        stream.truncate(1000)
    with pytest.raises(UserError, match=r"shards/laws/documents\.bin: size check: it has 1000 bytes"):
        preflight(recipe, TWO, run, [1])


def test_no_image(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mn5 = as_allocated(load_cluster("mn5"), Allocation(nodes=1, ranks=4))
    with pytest.raises(UserError, match=f"{tmp_path}/containers/nemo.sif: the container image is not there"):
        preflight(load_recipe("qwen3_tiny", ["phases.1.micro_batch_size=1"]), mn5, run, [1])
