"""Train on this machine: one torchrun with as many ranks as the cluster file says."""

import os
import subprocess
import sys
from collections.abc import Sequence

from launch.environment import free_port
from launch.lock import hold_lock, one_at_a_time
from launch.readiness import check_data, unfinished_phases
from recipes.cluster import Cluster
from recipes.errors import UserError
from recipes.layout import RunFolder
from recipes.load import load_cluster, load_recipe
from recipes.processes import die_with_parent


def train(
    recipe: str,
    overrides: Sequence[str],
    cluster: str,
    run: RunFolder,
    phases: Sequence[int],
    accept_changes: Sequence[str] = (),
) -> None:
    """Train `phases` from where the run folder stands; returns when all are finished, at once if they were.

    Args:
        recipe, cluster: shipped names or paths, as users write them.
        overrides: `FIELD=VALUE` changes to the recipe.
        accept_changes: fields of the run lock that may differ from now on.

    Raises:
        UserError: something is missing or does not fit; or training failed, with the place of its log.
    """
    loaded, machine = load_recipe(recipe, overrides), load_cluster(cluster)
    if machine.nodes > 1:
        raise UserError(f"cluster {machine.name} has {machine.nodes} nodes, this trains on one machine; use sbatch.")
    if machine.container.kind != "bare":
        raise UserError(f"cluster {machine.name} runs in a container, this trains without one; use sbatch.")
    todo = unfinished_phases(loaded, run, phases, machine.ranks_per_node)
    check_data(run, todo)
    hold_lock(run, loaded, phases, machine.container, accept_changes)
    if not todo:
        return
    arguments = ["--run", str(run.root.absolute()), "--recipe", recipe, "--cluster", cluster]
    arguments += ["--phases", ",".join(map(str, todo))]
    for override in overrides:
        arguments += ["--set", override]
    with one_at_a_time(run):
        _run(_torchrun(machine.ranks_per_node, arguments), machine, run)


def _torchrun(ranks: int, arguments: Sequence[str]) -> list[str]:
    meeting = ["--master-addr", "127.0.0.1", "--master-port", str(free_port())]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(ranks), *meeting]
    return [*torchrun, "-m", "--", "launch.rank", *arguments]  # without "--" it takes --run for one of its own options


def _run(command: Sequence[str], cluster: Cluster, run: RunFolder) -> None:
    logs = run.training / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    with (logs / "torchrun.txt").open("a", encoding="utf-8") as log:
        job = subprocess.Popen(command, env=_environment(cluster), stderr=log, preexec_fn=die_with_parent)
        try:
            code = job.wait()
        finally:
            _stop(job)
    if code:
        raise UserError(f"training stopped with status {code}; what is done is kept, and the reason is in {logs}.")


def _environment(cluster: Cluster) -> dict[str, str]:
    threads = max(1, min(cluster.cpus_per_node, os.cpu_count() or 1) // cluster.ranks_per_node)
    quiet = {"OMP_NUM_THREADS": str(threads), "PYTHONWARNINGS": "ignore", "PYTHONUNBUFFERED": "1"}
    return os.environ | quiet | cluster.environment


def _stop(job: "subprocess.Popen[bytes]") -> None:
    """End torchrun if it still runs; it takes its ranks along, and they die with it should it not."""
    if job.poll() is None:
        job.terminate()
        try:
            job.wait(timeout=10)
        except subprocess.TimeoutExpired:
            job.kill()
            job.wait()
