"""One task per rank on the nodes of a job."""

import re
import subprocess
import sys
from collections.abc import Mapping, Sequence

from launch.allocation import Allocation

_EXITED = re.compile(r"srun: error: .*: tasks? .*: Exited with exit code (\d+)")


def srun(allocation: Allocation, command: Sequence[str]) -> list[str]:
    """The argv that starts `command` once per rank.

    Nodes and tasks are always stated: without them Slurm 22.05 and 24.11 start different numbers of tasks. So are the
    cores, which srun does not take from sbatch since 22.05. `--export=ALL` undoes `sbatch --export=NONE`, and the first
    rank to fail ends the others, which would wait for it in a collective call.
    """
    cores = [f"--cpus-per-task={allocation.cpus_per_rank}"] if allocation.cpus_per_rank else []
    sizes = [f"--nodes={allocation.nodes}", f"--ntasks={allocation.ranks}", *cores]
    return ["srun", *sizes, "--export=ALL", "--kill-on-bad-exit=1", "--label", *command]


def run_ranks(argv: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run srun to its end; returns the exit status of the rank that failed first, 0 if none did.

    srun's own status is the highest of all ranks, so that the 143 of a rank it terminated hides the 1 of the one that
    broke; which came first is only in its messages.
    """
    first = 0
    with subprocess.Popen(argv, env=dict(environment), stderr=subprocess.PIPE, text=True, errors="replace") as process:
        for line in process.stderr or ():
            sys.stderr.write(line)
            sys.stderr.flush()
            exited = _EXITED.match(line)
            first = first or (int(exited[1]) if exited else 0)
    return first or process.returncode
