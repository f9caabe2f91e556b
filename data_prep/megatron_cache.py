"""Have Megatron's index files built before the job: by a process of their own, since this side never loads Megatron."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from recipes.errors import UserError
from recipes.layout import RunFolder

PROJECT = Path(__file__).parents[1]


def build_caches(run: RunFolder, phases: Sequence[int]) -> None:
    """Build the index files of mixtures that are there.

    Raises:
        UserError: the process failed, with its last line.
    """
    asked = [option for number in phases for option in ("--phase", str(number))]
    search = os.pathsep.join(filter(None, [str(PROJECT), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-m", "recipes.engine.build_cache", str(run.root), *asked],
        env={**os.environ, "PYTHONPATH": search},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1].removeprefix("error: ")
        raise UserError(f"--build-cache: {last}")
