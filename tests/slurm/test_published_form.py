"""The batch scripts as they stand, against the controller of the published cluster: 100 nodes × 4 GPUs, 80 cores."""

import pytest
from slurm_cluster import REPOSITORY, SCRIPT

pytestmark = pytest.mark.slurm


@pytest.mark.parametrize("script", [SCRIPT, "slurm/qwen3_1p7b_cpt.sbatch"])
def test_accepted_unmodified(hundred_nodes, script):
    tested = hundred_nodes.call("sbatch", "--test-only", script, cwd=REPOSITORY)
    assert tested.returncode == 0, tested.stderr
    assert "using 8000 processors on nodes node[1-100] in partition acc" in tested.stderr


@pytest.mark.parametrize("beyond", ["--nodes=101", "--gres=gpu:5", "--cpus-per-task=21"])
def test_the_controller_knows_its_limits(hundred_nodes, beyond):
    """Else the test above would say nothing."""
    tested = hundred_nodes.call("sbatch", "--test-only", beyond, SCRIPT, cwd=REPOSITORY)
    assert tested.returncode == 1, tested.stderr
