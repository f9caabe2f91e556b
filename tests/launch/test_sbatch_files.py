"""slurm/*.sbatch say the same as the cluster file that they name."""

import re
import subprocess
from pathlib import Path

import pytest

from recipes.load import load_cluster, load_recipe

SLURM = Path(__file__).parents[2] / "slurm"
SCRIPTS = sorted(SLURM.glob("*_cpt.sbatch"))


def options(script: Path) -> dict[str, str]:
    return dict(re.findall(r"^#SBATCH --([a-z-]+)=?(.*)$", script.read_text(), flags=re.MULTILINE))


def test_both_are_there():
    assert [script.name for script in SCRIPTS] == ["qwen3_1p7b_cpt.sbatch", "qwen3_4b_cpt.sbatch"]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_allocation_is_the_cluster_files(script):
    found, mn5 = options(script), load_cluster("mn5")
    assert mn5.slurm is not None
    assert (int(found["nodes"]), int(found["ntasks-per-node"])) == (mn5.nodes + mn5.spare_nodes, mn5.ranks_per_node)
    assert found["gres"] == f"gpu:{mn5.gpus_per_node}"
    assert int(found["cpus-per-task"]) * mn5.ranks_per_node == mn5.cpus_per_node
    assert (found["partition"], found["time"]) == (mn5.slurm.partition, mn5.slurm.time_limit)
    assert ("exclusive" in found) == mn5.slurm.exclusive
    assert not {"account", "qos"} & found.keys()  # they come from SBATCH_ACCOUNT and SBATCH_QOS


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_each_runs_its_recipe(script):
    name = script.stem.removesuffix("_cpt")
    load_recipe(name)
    assert f"--recipe {name} --cluster mn5 --run runs/{name} " in script.read_text()
    assert options(script)["job-name"] == script.stem


def test_they_differ_in_nothing_else():
    small, large = (
        script.read_text().replace(script.stem.removesuffix("_cpt"), "NAME").splitlines()[2:] for script in SCRIPTS
    )
    assert small == large


@pytest.mark.parametrize(
    "script", [*SCRIPTS, SLURM / "data_prep.sbatch", SLURM / "run_recipe.sh"], ids=lambda script: script.name
)
def test_bash_can_read_it(script):
    subprocess.run(["bash", "-n", script], check=True)
