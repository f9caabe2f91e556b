"""Clusters for the tests of this folder, started once per session and only when asked for, and what they are given."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from slurm_cluster import CLUSTER_FILE, REPOSITORY, SlurmCluster, start
from tiny_run import tiny_held_out

from recipes.layout import RunFolder

STUB_RANK = """\
# Stands in for training: says who it is; the rank STUB_FAILS exits with 9, and STUB_SECONDS pass before the others end.
import os, socket, sys, time
rank = os.environ["SLURM_PROCID"]
print("rank", rank, "of", os.environ["SLURM_NTASKS"], "on", socket.gethostname(), "gpus",
      os.environ.get("CUDA_VISIBLE_DEVICES", "none"), *sys.argv[1:], flush=True)
if rank == os.environ.get("STUB_FAILS"):
    sys.exit(9)
time.sleep(float(os.environ.get("STUB_SECONDS", "0")))
"""


@pytest.fixture(scope="session")
def two_nodes() -> Iterator[SlurmCluster]:
    """Two nodes without GPUs."""
    yield from start(2, 0)


@pytest.fixture(scope="session")
def gpu_nodes() -> Iterator[SlurmCluster]:
    """Two nodes with four pretended GPUs each."""
    yield from start(2, 4, CLUSTER_CPUS="80")


@pytest.fixture(scope="session")
def hundred_nodes() -> Iterator[SlurmCluster]:
    """The controller of 100 nodes with 4 GPUs and 80 cores each, and no node behind it."""
    yield from start(100, 4, CLUSTER_MODE="controller", CLUSTER_CPUS="80")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of this repository whose per-rank entry is a stub, with the cluster file of `two_nodes`."""
    root = tmp_path / "checkout"
    for name in ("slurm", "launch", "recipes"):
        shutil.copytree(REPOSITORY / name, root / name)
    (root / "launch" / "rank.py").write_text(STUB_RANK)
    (root / "slurm_cpu.yaml").write_text(CLUSTER_FILE)
    return root


@pytest.fixture
def run_folder(checkout: Path) -> Path:
    """A run folder with an imported base and the mixture of phase 1, as far as the job's checks look."""
    run = checkout / "runs" / "x"
    (run / "base_checkpoint" / "weights").mkdir(parents=True)
    (run / "base_checkpoint" / "weights" / "metadata.json").write_text("{}")
    phase = run / "phases" / "1"
    phase.mkdir(parents=True)
    for suffix in (".idx", ".bin"):
        (phase / f"laws{suffix}").touch()
    blend = {"prefixes": ["laws"], "sequence_length": 256, "global_batch_size": 8, "iterations": 48, "seed": 1234}
    (phase / "blend.json").write_text(json.dumps(blend | {"separator_id": 0, "vocab_size": 8192, "digest": "0"}))
    tiny_held_out(RunFolder(run))
    return run
