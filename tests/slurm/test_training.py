"""Phase 1 of the tiny recipe, trained with NeMo by a batch script on two nodes of a real Slurm."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from slurm_cluster import ARGUMENTS, CLUSTER_FILE, OPTIONS, REPOSITORY, SCRIPT

from recipes.checkpoints import final_checkpoint
from recipes.layout import RunFolder

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

ITERATIONS = 10
# Short, and from random weights: no base model is needed.
SETTINGS = ["--set", "model.init=random", "--set", f"phases.general.token_budget={ITERATIONS * 8 * 256}"]


def test_phase_1_runs_to_its_end(two_nodes, tmp_path: Path):
    (tmp_path / "slurm_cpu.yaml").write_text(CLUSTER_FILE)
    mixture = [sys.executable, str(REPOSITORY / "data_prep" / "build_mixture.py"), "--phase", "1", "--run", "runs/x"]
    subprocess.run([*mixture, *SETTINGS], cwd=tmp_path, check=True)

    job = two_nodes.submit(*OPTIONS, str(REPOSITORY / SCRIPT), *ARGUMENTS, *SETTINGS, cwd=tmp_path)
    fields, log = two_nodes.wait(job, seconds=580)

    assert (fields["JobState"], fields["ExitCode"]) == ("COMPLETED", "0:0"), log
    run = RunFolder(tmp_path / "runs" / "x")
    assert final_checkpoint(run, 1) is not None
    steps = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    assert steps[-1]["iteration"] == ITERATIONS
