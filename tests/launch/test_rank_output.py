import subprocess
import sys
from pathlib import Path

import pytest
from tiny_run import ROOT

SCRIPT = """
import os, subprocess, sys
from pathlib import Path
from launch.rank_output import RankOutput
from recipes.errors import UserError

def act():
    print("a library talks")
    subprocess.run(["echo", "its child talks"], check=True)
    output.say("our line")
    {action}

os.environ["RANK"] = "{rank}"
output = RankOutput(Path(sys.argv[1]))
sys.exit(output.guard(act))
"""


@pytest.mark.parametrize(
    ("action", "rank", "status", "said"),
    [
        ("pass", 0, 0, "our line\n"),
        ("raise UserError('this is missing.')", 0, 2, "our line\nerror: this is missing.\n"),
        ("raise UserError('this is missing.')", 1, 2, "our line\n"),
        ("1 / 0", 1, 1, "our line\nerror: rank 1 failed (division by zero); its log is {log}.\n"),
    ],
)
def test_the_terminal_has_our_lines_only(tmp_path: Path, action: str, rank: int, status: int, said: str) -> None:
    log = tmp_path / "logs" / "rank.txt"
    script = SCRIPT.format(action=action, rank=rank)
    answer = subprocess.run([sys.executable, "-c", script, str(log)], capture_output=True, text=True, cwd=ROOT)
    assert (answer.returncode, answer.stdout, answer.stderr) == (status, said.format(log=log), "")
    written = log.read_text()
    assert "a library talks" in written and "its child talks" in written
    assert ("Traceback" in written) == (status == 1)
