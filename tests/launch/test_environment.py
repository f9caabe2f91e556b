import pytest

from launch.environment import first_host, rank_environment
from recipes.errors import UserError

SLURM = {
    "SLURM_PROCID": "5",
    "SLURM_NTASKS": "8",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "1",
    "SLURM_JOB_NODELIST": "node[3-4]",
    "SLURM_TASKS_PER_NODE": "4(x2)",
    "SLURM_JOB_ID": "1234567",
}


@pytest.mark.parametrize(
    ("hosts", "first"),
    [
        ("node1", "node1"),
        ("node[1-4]", "node1"),
        ("node[007,9-12]", "node007"),
        ("login,node[1-2]", "login"),
        ("as01r[2b05-2b07,3b01]n[1-4],other", "as01r2b05n1"),
        ("a[1,2]b,c", "a1b"),
    ],
)
def test_first_host(hosts: str, first: str) -> None:
    assert first_host(hosts) == first


def test_plain_srun_is_understood() -> None:
    assert rank_environment(SLURM) == {
        "RANK": "5",
        "WORLD_SIZE": "8",
        "LOCAL_RANK": "1",
        "LOCAL_WORLD_SIZE": "4",
        "GROUP_RANK": "1",
        "MASTER_ADDR": "node3",
        "MASTER_PORT": "23072",
    }


def test_torchruns_variables_win_over_slurms() -> None:
    torchrun = {name: name.lower() for name in rank_environment(SLURM)}
    assert rank_environment(SLURM | torchrun) == torchrun


def test_alone_without_either() -> None:
    alone = rank_environment({})
    assert (alone["RANK"], alone["WORLD_SIZE"], alone["MASTER_ADDR"]) == ("0", "1", "127.0.0.1")


def test_uneven_nodes_are_refused() -> None:
    with pytest.raises(UserError, match="the same number for every node"):
        rank_environment(SLURM | {"SLURM_TASKS_PER_NODE": "4,3"})
