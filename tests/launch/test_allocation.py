import pytest

from launch.allocation import Allocation, as_allocated
from recipes.errors import UserError
from recipes.load import load_cluster

JOB = {"SLURM_NNODES": "2", "SLURM_NTASKS": "8", "SLURM_CPUS_PER_TASK": "20"}


def test_from_the_environment_of_a_batch_script():
    assert Allocation.from_environment(JOB) == Allocation(nodes=2, ranks=8, cpus_per_rank=20)
    assert Allocation.from_environment(JOB | {"SLURM_CPUS_PER_TASK": ""}).cpus_per_rank is None


@pytest.mark.parametrize(
    ("environment", "words"),
    [({}, "SLURM_NNODES is not set"), (JOB | {"SLURM_NTASKS": "7"}, "7 ranks do not fill 2 nodes evenly")],
)
def test_not_a_usable_job(environment, words):
    with pytest.raises(UserError, match=words):
        Allocation.from_environment(environment)


def test_the_job_counts_and_not_the_file():
    cluster = as_allocated(load_cluster("mn5"), Allocation(nodes=2, ranks=8))
    assert (cluster.nodes, cluster.world_size, cluster.container) == (2, 8, load_cluster("mn5").container)


def test_a_job_that_the_cluster_file_rules_out():
    with pytest.raises(UserError, match=r"2 nodes × 1 ranks: ranks_per_node \(1\) must equal gpus_per_node \(4\)"):
        as_allocated(load_cluster("mn5"), Allocation(nodes=2, ranks=2))
