"""The commands of a rank, whole, as they reach the nodes."""

from pathlib import Path

import pytest

from launch.allocation import Allocation
from launch.container import contained, python_inside
from launch.srun import srun
from recipes.cluster import Container
from recipes.load import load_cluster

GOLDEN = Path(__file__).parent / "golden"
FOLDERS = [Path("/gpfs/legal"), Path("/gpfs/checkout"), Path("/gpfs/legal/runs/4b"), Path("/gpfs/legal")]
RANK = ["-m", "launch.rank", "--run", "/gpfs/legal/runs/4b", "--recipe", "qwen3_4b"]


@pytest.mark.parametrize(
    ("name", "container"),
    [
        ("bare", Container()),
        ("singularity", load_cluster("mn5").container),
        ("singularity_binds", Container(kind="singularity", image="/images/nemo.sif", binds=["/scratch:/data"])),
    ],
)
def test_command_of_a_rank(name, container):
    command = contained(container, FOLDERS, [python_inside(container, "/venv/bin/python"), *RANK])
    argv = srun(Allocation(nodes=100, ranks=400, cpus_per_rank=20), command)
    assert "\n".join(argv) + "\n" == (GOLDEN / f"rank_{name}.txt").read_text()
