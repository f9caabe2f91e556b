"""The batch job behind slurm/*.sbatch: one process on the first node that checks, starts the ranks, ends as they do.

    python -m launch.job --recipe qwen3_4b --cluster mn5 --run runs/qwen3_4b [--phases 1,2] [--set FIELD=VALUE]

Shortly before the time limit Slurm sends USR1 (`--signal=B:USR1@…`), and the job puts itself back into the queue; the
ranks then continue from the last checkpoint.
"""

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from launch.allocation import Allocation, as_allocated
from launch.container import contained, python_inside
from launch.lock import one_at_a_time
from launch.preflight import preflight
from launch.srun import run_ranks, srun
from recipes.cluster import BatchIdentity, Cluster, Container
from recipes.layout import RunFolder
from recipes.load import load_cluster, load_recipe, phase_numbers
from recipes.terminal import run_command

CODE = Path(__file__).resolve().parents[1]


def main() -> None:
    """Run the job. Exit status: that of the rank that failed first, or 2 when something was missing at the start."""
    run_command(lambda: sys.exit(run_job(_parser().parse_args())))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="launch.job", description="Run phases of a recipe inside a Slurm job.")
    parser.add_argument("--recipe", required=True, help="a shipped recipe or a file")
    parser.add_argument("--cluster", required=True, help="a shipped cluster or a file")
    parser.add_argument("--run", required=True, type=Path, help="the run folder")
    parser.add_argument("--phases", help="numbers or names, with commas; all by default")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="override a recipe field")
    parser.add_argument(
        "--accept-change", action="append", default=[], metavar="FIELD", help="let this field of the run lock differ"
    )
    return parser


def run_job(arguments: argparse.Namespace) -> int:
    """Check, then run every rank to its end; returns the exit status of the one that failed first, or 0."""
    recipe = load_recipe(arguments.recipe, arguments.set)
    stated = load_cluster(arguments.cluster)
    allocation = Allocation.from_environment(os.environ)
    cluster = as_allocated(stated, allocation)
    phases = phase_numbers(recipe, arguments.phases)
    run = RunFolder(arguments.run.absolute())
    identities = preflight(recipe, cluster, run, phases, arguments.accept_change)
    if cluster != stated:
        print(
            f"cluster {stated.name}: {Allocation.stated_by(stated)} in its file, {allocation} in this job, which count."
        )
    print(*map(_line, phases, identities), sep="\n", flush=True)
    signal.signal(signal.SIGUSR1, _requeue)
    command = rank_command(cluster.container, arguments, phases)
    with one_at_a_time(run):
        return run_ranks(srun(allocation, command), os.environ | rank_settings(cluster, allocation))


def rank_command(container: Container, arguments: argparse.Namespace, phases: Sequence[int]) -> list[str]:
    """The argv of one rank."""
    run = arguments.run.absolute()
    command = [python_inside(container, sys.executable), "-m", "launch.rank", "--run", str(run)]
    command += ["--recipe", arguments.recipe, "--cluster", arguments.cluster, "--phases", ",".join(map(str, phases))]
    for override in arguments.set:
        command += ["--set", override]
    return contained(container, [Path.cwd(), CODE, run], command)


def rank_settings(cluster: Cluster, allocation: Allocation) -> dict[str, str]:
    """Environment variables of every rank beside those of the batch script; the cluster file's word is last."""
    # A container mounts the home folder: packages of the user there would win over the image's.
    settings = {"OMP_NUM_THREADS": str(allocation.cpus_per_rank or 1), "PYTHONNOUSERSITE": "1"}
    offline = {"HF_HUB_OFFLINE": "1"} if cluster.offline else {}
    return settings | offline | cluster.environment


def _line(number: int, batch: BatchIdentity) -> str:
    return (
        f"phase {number}: global batch {batch.global_batch_size} = {batch.micro_batch_size} micro × "
        f"{batch.accumulation} accumulation × {batch.data_parallel} data-parallel"
    )


def _requeue(*_: object) -> None:
    print("the time limit is near: this job goes back into the queue.", flush=True)
    subprocess.run(["scontrol", "requeue", os.environ["SLURM_JOB_ID"]], check=False)


if __name__ == "__main__":
    main()
