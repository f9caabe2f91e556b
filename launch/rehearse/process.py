"""Have the ranks built by a process of their own (`recipes.engine.rehearse`): what it does to torch stays there."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from recipes.errors import UserError
from recipes.rehearsal import BuiltPhase, Request

PROJECT = Path(__file__).parents[2]


def build(request: Request) -> list[BuiltPhase]:
    """The ranks and the walk of each phase asked for; none asked, none started.

    Raises:
        UserError: a phase asks for what cannot be, or the process failed, with its last line.
    """
    if not request.phases:
        return []
    search = os.pathsep.join(filter(None, [str(PROJECT), os.environ.get("PYTHONPATH")]))
    with tempfile.TemporaryFile("w+") as errors, _progress() as progress:
        process = subprocess.Popen(
            [sys.executable, "-m", "recipes.engine.rehearse", request.model_dump_json()],
            env={**os.environ, "PYTHONPATH": search, "CUDA_VISIBLE_DEVICES": ""},
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        try:
            assert process.stdout is not None
            lines = progress.track(process.stdout, len(request.phases), description="importing NeMo, building ranks")
            built = [BuiltPhase.model_validate_json(line) for line in lines]
            status = process.wait()
        finally:
            process.kill()
        if status < 0:
            raise UserError(f"rehearsal: the process was killed by signal {-status}; is there enough memory?")
        if status:
            errors.seek(0)
            last = (errors.read().strip().splitlines() or [f"exit status {status}"])[-1].removeprefix("error: ")
            raise UserError(f"rehearsal: {last}")
    return built


def _progress() -> Progress:
    terminal = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=terminal, disable=not terminal.is_terminal, transient=True)
