"""What every command shares at the terminal: one sentence and status 2 for bad input, quiet libraries."""

import json
import sys
import warnings
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from recipes.errors import UserError


def run_command(command: Callable[[], Any]) -> None:
    """Run a command line program. A UserError becomes its sentence on standard error and exit status 2."""
    # torch says this at every import where NeMo's own dependency pynvml is installed; users can do nothing about it.
    warnings.filterwarnings("ignore", message="The pynvml package is deprecated")
    try:
        command()
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
    except KeyboardInterrupt:
        print("interrupted; run the same command again to go on.", file=sys.stderr)
        sys.exit(130)


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
