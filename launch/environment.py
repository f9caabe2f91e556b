"""Who am I among the ranks: torchrun's variables, or the same ones out of Slurm's."""

import re
import socket
from collections.abc import Mapping

from recipes.errors import UserError

_FIRST_PORT, _PORTS = 20_000, 10_000  # below the ephemeral range of Linux
_PORTS_OF_A_JOB = 16  # one per phase


def rank_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE, GROUP_RANK, MASTER_ADDR and MASTER_PORT of this process.

    Torchrun's are taken as they are; else they come from srun; else this is the only rank. Under Slurm the ranks meet
    on the first node of the step, on a port that follows from the job id: jobs that share a node do not collide.

    Raises:
        UserError: srun placed different numbers of ranks on its nodes.
    """
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "MASTER_ADDR", "MASTER_PORT")
    if "RANK" in environment and "WORLD_SIZE" in environment:
        return {name: environment[name] for name in names}
    if "SLURM_PROCID" in environment:
        return _from_slurm(environment)
    return dict(zip(names, ("0", "1", "0", "1", "0", "127.0.0.1", str(free_port())), strict=True))


def _from_slurm(environment: Mapping[str, str]) -> dict[str, str]:
    hosts = environment.get("SLURM_STEP_NODELIST") or environment["SLURM_JOB_NODELIST"]
    return {
        "RANK": environment["SLURM_PROCID"],
        "WORLD_SIZE": environment.get("SLURM_STEP_NUM_TASKS") or environment["SLURM_NTASKS"],
        "LOCAL_RANK": environment["SLURM_LOCALID"],
        "LOCAL_WORLD_SIZE": _ranks_per_node(environment),
        "GROUP_RANK": environment["SLURM_NODEID"],
        "MASTER_ADDR": first_host(hosts),
        "MASTER_PORT": str(_FIRST_PORT + int(environment["SLURM_JOB_ID"]) * _PORTS_OF_A_JOB % _PORTS),
    }


def _ranks_per_node(environment: Mapping[str, str]) -> str:
    text = environment.get("SLURM_STEP_TASKS_PER_NODE") or environment["SLURM_TASKS_PER_NODE"]  # "4(x100)" or "4,3"
    counts = {part.partition("(")[0] for part in text.split(",")}
    if len(counts) > 1:
        raise UserError(f"srun placed {text} ranks on its nodes; give it the same number for every node.")
    return counts.pop()


def first_host(hosts: str) -> str:
    """The first name of a Slurm host list: `as01r[2b05-2b07,3b01]n[1-4],login` gives `as01r2b05n1`."""
    first = re.split(r",(?![^\[]*\])", hosts)[0]
    return re.sub(r"\[([^\]]*)\]", lambda ranges: re.split(r"[-,]", ranges[1])[0], first)


def free_port() -> int:
    """A TCP port that nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
