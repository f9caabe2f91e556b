"""What every command shares at the terminal: one sentence and status 2 for bad input, quiet libraries."""

import json
import signal
import sys
import warnings
from collections.abc import Callable
from types import FrameType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from recipes.errors import UserError


def run_command(command: Callable[[], Any]) -> None:
    """Run a command line program. A UserError becomes its sentence on standard error and exit status 2, Ctrl-C one line
    and 130."""
    # torch says this at every import where NeMo's own dependency pynvml is installed; users can do nothing about it.
    warnings.filterwarnings("ignore", message="The pynvml package is deprecated")
    interrupts = _note_interrupts()
    try:
        try:
            command()
        finally:
            if interrupts:  # whatever it became on its way up
                print("stopped; nothing is half-written, run the same command again to go on.", file=sys.stderr)
                sys.exit(130)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(141)
    except OSError as error:
        if not error.filename:
            raise
        print(f"error: {error.filename}: {error.strerror}.", file=sys.stderr)
        sys.exit(2)


def _note_interrupts() -> list[int]:
    """A list that is no longer empty once Ctrl-C was pressed: typer makes an exit status of a KeyboardInterrupt."""
    seen: list[int] = []

    def interrupted(number: int, frame: FrameType | None) -> None:
        seen.append(number)
        signal.default_int_handler(number, frame)

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else it is ignored, in the background
        signal.signal(signal.SIGINT, interrupted)
    return seen


def console() -> Console:
    """Standard output for tables: as wide as the terminal, and wide enough for the tables when it is none."""
    return Console() if sys.stdout.isatty() else Console(width=160)


def progress_bars(terminal: Console | None = None) -> Progress:
    """Bars with rate and time left, on a terminal only; on standard error unless another is given."""
    terminal = terminal or Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    return Progress(*columns, console=terminal, disable=not terminal.is_terminal, transient=True)


def print_json(content: Any) -> None:
    """What `--json` prints: one JSON document on standard output and nothing else."""
    print(json.dumps(content, indent=2, ensure_ascii=False))
