"""Which start of a training may write into its run: the newest one. Works where file systems have no locks.

Every start claims the next number by creating `training/attempts/<number>.json`, which a file system lets one process
do; a checkpoint is published by the newest number only. So a job that a network cut has hidden, and that was started
again elsewhere, can go on computing, but not writing.
"""

import contextlib
import json
import os
import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from recipes.artifacts import explained_disk_errors
from recipes.errors import UserError


@dataclass(frozen=True)
class Attempt:
    """One start of a training: its number, and the folder where all starts of the run have claimed theirs."""

    folder: Path
    number: int

    def check(self) -> None:
        """Make sure that this is the newest start.

        Raises:
            UserError: the run was started again; this process must write no more.
        """
        newest = _newest(self.folder)
        if newest != self.number:
            raise UserError(
                f"{self.folder.parent}: this run was started again{_described(self.folder, newest)}, so this older "
                f"start, number {self.number}, stops here and has published nothing since; let the newer one go on."
            )


def begin_attempt(folder: Path) -> Attempt:
    """Claim the next number in `folder`.

    Raises:
        UserError: the folder cannot be written.
    """
    with explained_disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for number in count(_newest(folder) + 1):
            with contextlib.suppress(FileExistsError):
                claim = os.open(_claim(folder, number), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
                break
    # What is in it is for people: on a full disk the name alone has to do.
    with contextlib.suppress(OSError), os.fdopen(claim, "w") as stream:
        started = datetime.now(UTC).isoformat(timespec="seconds")
        json.dump({"started": started, "host": socket.gethostname(), "job": os.environ.get("SLURM_JOB_ID")}, stream)
    return Attempt(folder, number)


def _newest(folder: Path) -> int:
    return max((int(path.stem) for path in folder.glob("*.json") if path.stem.isdigit()), default=0)


def _claim(folder: Path, number: int) -> Path:
    return folder / f"{number:06d}.json"


def _described(folder: Path, number: int) -> str:
    try:
        claim = json.loads(_claim(folder, number).read_text(encoding="utf-8"))
        job = f" by job {claim['job']}" if claim["job"] else ""
        return f"{job} on {claim['host']} at {claim['started']}"
    except (OSError, ValueError, KeyError, TypeError):
        return ""
