"""Where a rank's output goes: our lines to the terminal, everything that libraries print to a log file."""

import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from recipes.errors import UserError


class RankOutput:
    """Takes over standard output and error of this process and of those it forks.

    Args:
        log: file that both are appended to from now on.
    """

    def __init__(self, log: Path) -> None:
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        self.terminal = os.dup(1)
        target = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        os.dup2(target, 1)
        os.dup2(target, 2)

    def say(self, line: str) -> None:
        """Print one of our own lines, to the terminal and to the log."""
        print(line, flush=True)
        os.write(self.terminal, (line + "\n").encode())

    def guard(self, action: Callable[[], None]) -> int:
        """Run `action`; returns the exit status. An error becomes one sentence here and a traceback in the log."""
        rank = os.environ["RANK"]
        try:
            action()
            return 0
        except UserError as error:
            print(f"error: {error}")
            if rank == "0":
                os.write(self.terminal, f"error: {error}\n".encode())
            return 2
        except Exception as error:  # noqa: BLE001
            traceback.print_exc()
            first = (str(error).strip() or repr(error)).splitlines()[0]
            self.say(f"error: rank {rank} failed ({first}); its log is {self.log}.")
            return 1
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
