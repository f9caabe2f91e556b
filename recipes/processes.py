"""Processes of our own: a module run apart from this one, and what happens to it when this one ends."""

import ctypes
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from recipes.errors import UserError

_PROJECT = Path(__file__).parents[1]


def module_output(module: str, *arguments: str, **environment: str) -> Iterator[str]:
    """Run `python -m module` and give the lines that it prints, as they come; it ends with this process.

    What changes torch for good, or loads Megatron where that must not be, is done so.

    Args:
        environment: variables that it sees besides those of this process.

    Raises:
        UserError: it failed; the sentence is the last line of its errors, without a place.
    """
    search = os.pathsep.join(filter(None, [str(_PROJECT), os.environ.get("PYTHONPATH")]))
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            env={**os.environ, "PYTHONPATH": search, **environment},
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            preexec_fn=die_with_parent,
        )
        try:
            assert process.stdout is not None
            yield from process.stdout
            status = process.wait()
        finally:
            process.kill()
        if status < 0:
            raise UserError(f"the process was killed by signal {-status}; is there enough memory?")
        if status:
            errors.seek(0)
            lines = errors.read().strip().splitlines() or [f"exit status {status}"]
            raise UserError(lines[-1].removeprefix("error: "))


def die_with_parent(parent: int | None = None) -> None:
    """Ask Linux to kill this process when its parent ends, however that ends: nothing lives on and writes on.

    Args:
        parent: its process id, where it may have ended already.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if parent is not None and os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)
