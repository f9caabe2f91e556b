import os

import pytest

from launch.allocation import Allocation
from launch.srun import run_ranks, srun

REPORT = "srun: error: node2: tasks 1-3: Exited with exit code {}"


def test_sizes_are_always_stated():
    argv = srun(Allocation(nodes=2, ranks=8), ["hostname"])
    assert argv == ["srun", "--nodes=2", "--ntasks=8", "--export=ALL", "--kill-on-bad-exit=1", "--label", "hostname"]


@pytest.mark.parametrize(
    ("lines", "code", "expected"),
    [
        ([], 0, 0),
        (["1: srun: error: node1: task 0: Exited with exit code 4"], 7, 7),  # printed by a rank, not by srun
        (["srun: error: node1: task 0: Killed"], 137, 137),
        ([REPORT.format(9), REPORT.format(143)], 143, 9),
    ],
)
def test_status_of_the_rank_that_failed_first(lines, code, expected, capsys):
    script = "".join(f"echo '{line}' >&2\n" for line in lines) + f"exit {code}"
    assert run_ranks(["sh", "-c", script], os.environ) == expected
    assert capsys.readouterr().err.splitlines() == lines
