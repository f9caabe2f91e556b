"""How a command ends, seen from outside."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

STOPPED = "stopped; nothing is half-written, run the same command again to go on.\n"
# `again` is what a library does with the interrupt of its own.
COMMAND = """
import os, signal, typer
from pathlib import Path
from recipes.artifacts import atomic_folder
from recipes.errors import UserError
from recipes.terminal import run_command

app = typer.Typer()

@app.command()
def write(target: Path, again: str) -> None:
    try:
        with atomic_folder(target) as folder:
            (folder / "begun").touch()
            os.kill(os.getpid(), signal.SIGINT)
    except KeyboardInterrupt:
        if again == "error":
            raise UserError("a process was killed")
        if again == "raise":
            raise
        raise SystemExit({"swallowed": 0, "status": 1}[again])

run_command(app)
"""


@pytest.mark.parametrize("again", ["raise", "error", "status", "swallowed"])
def test_an_interrupt_is_one_line_and_130_and_leaves_nothing_half_written(tmp_path: Path, again: str) -> None:
    ended = subprocess.run([sys.executable, "-c", COMMAND, tmp_path / "out", again], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", STOPPED)
    assert list(tmp_path.iterdir()) == []


def test_an_ignored_interrupt_stays_ignored(tmp_path: Path) -> None:
    """As a shell starts what runs in the background."""
    ended = subprocess.run(
        [sys.executable, "-c", COMMAND, tmp_path / "out", "raise"],
        capture_output=True,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert (tmp_path / "out" / "begun").exists()
