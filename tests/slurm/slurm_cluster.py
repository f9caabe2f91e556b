"""A real Slurm on this machine, and what the tests submit to it."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
SCRIPT = "slurm/qwen3_4b_cpt.sbatch"
# What sbatch needs to hear on two nodes without GPUs, and what our command does.
OPTIONS = ["--partition=main", "--nodes=2", "--ntasks-per-node=1", "--cpus-per-task=1", "--gres=none", "--time=10"]
ARGUMENTS = ["--recipe", "qwen3_tiny", "--cluster", "slurm_cpu.yaml", "--phases", "1", "--run", "runs/x"]
CLUSTER_FILE = """\
name: slurm_cpu
nodes: 2
ranks_per_node: 1
cpus_per_node: 2
memory_per_node_gb: 8
"""
FINAL = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "BOOT_FAIL"}


@dataclass(frozen=True)
class SlurmCluster:
    """The client side of one cluster."""

    folder: Path

    def call(self, *argv: str, cwd: Path, **extra: str) -> subprocess.CompletedProcess[str]:
        """Run a Slurm command as somebody on a login node would."""
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("SLURM_", "SBATCH_"))}
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        environment = inherited | {"SLURM_CONF": str(self.folder / "slurm.conf"), "PATH": path} | extra
        return subprocess.run(argv, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=60)

    def submit(self, *arguments: str, cwd: Path, **extra: str) -> str:
        """sbatch; returns the job's number."""
        submitted = self.call("sbatch", "--parsable", *arguments, cwd=cwd, **extra)
        assert submitted.returncode == 0, submitted.stderr
        return submitted.stdout.strip()

    def show(self, job: str) -> dict[str, str]:
        """The fields of `scontrol show job`."""
        shown = self.call("scontrol", "show", "job", "-o", job, cwd=Path("/"))
        return dict(re.findall(r"(\S+?)=(.*?)(?= \S+=|\s*$)", shown.stdout))

    def wait(self, job: str, seconds: float = 60) -> tuple[dict[str, str], str]:
        """The fields and the log of a job once it has ended."""
        fields = self.wait_for(job, lambda fields: fields["JobState"] in FINAL, seconds)
        return fields, Path(fields["StdOut"]).read_text()

    def wait_for(self, job: str, reached: Callable[[dict[str, str]], bool], seconds: float = 60) -> dict[str, str]:
        """The fields of a job once `reached(fields)`."""
        for _ in range(int(seconds * 5)):
            fields = self.show(job)
            if reached(fields):
                return fields
            time.sleep(0.2)
        raise AssertionError(f"job {job} is still {fields['JobState']} ({fields['Reason']})")


def start(nodes: int, gpus: int, **knobs: str) -> Iterator[SlurmCluster]:
    """Start a cluster (slurm_cluster.sh), yield it, and take it down; skips the test where that is impossible."""
    if shutil.which("slurmctld", path=f"{os.environ['PATH']}:/usr/sbin") is None:
        pytest.skip("slurmctld is not installed (Debian: apt-get install slurm-wlm munge)")
    if os.geteuid() != 0:
        pytest.skip("a Slurm of several nodes is started by root only")
    folder = Path(tempfile.mkdtemp(prefix="slurm-test-"))  # short: a socket's path has at most 107 characters
    script, environment = (
        Path(__file__).with_name("slurm_cluster.sh"),
        os.environ | {"CLUSTER_DIR": str(folder)} | knobs,
    )
    try:
        up = subprocess.run(
            ["bash", script, "up", str(nodes), str(gpus)], env=environment, capture_output=True, text=True
        )
        assert up.returncode == 0, up.stderr
        yield SlurmCluster(folder)
    finally:
        subprocess.run(["bash", script, "down"], env=environment, check=True)
