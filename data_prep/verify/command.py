"""`cpt data verify`: what is wrong with data on disk, one line per problem, exit status 2 if there is any."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from recipes.terminal import console, print_json, progress_bars

if TYPE_CHECKING:
    from data_prep.verify.report import Report


def verify(
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help="A run, its shards or phases, one of these, or any .bin/.idx.")
    ],
    full: Annotated[bool, typer.Option("--full", help="Read every byte: tokens, document ends, digests.")] = False,
    workers: Annotated[int | None, typer.Option(min=1, help="Files read at a time.", show_default="the cores")] = None,
    vocab_size: Annotated[int | None, typer.Option(min=1, help="Of a dataset without a receipt.")] = None,
    separator_id: Annotated[int | None, typer.Option(min=0, help="Of a dataset without a receipt.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")] = False,
) -> None:
    """Check shards, slices and receipts: their structure, or with --full every byte."""
    from data_prep.verify.check import check  # numpy: not for `cpt --help`
    from data_prep.workers import available_cores

    started = time.monotonic()
    with progress_bars() as progress:
        report = check(path, full, workers or available_cores(), vocab_size, separator_id, progress)
    if as_json:
        print_json(report.content())
    else:
        show_report(console(), report, time.monotonic() - started)
    if report.problems:
        raise typer.Exit(2)


def show_report(terminal: Console, report: "Report", seconds: float) -> None:
    """Print every problem and warning on a line of its own, and what was looked at."""
    for style, word, found in (("red", "problem", report.problems), ("yellow", "warning", report.warnings)):
        for problem in found:
            terminal.print(f"{word}: {problem}", style=style, highlight=False, markup=False, soft_wrap=True)
    how = "every byte of" if report.full else "the structure of"
    terminal.print(
        f"checked {how} {len(report.files)} files in {seconds:.2f} s: {len(report.problems)} problems, "
        f"{len(report.warnings)} warnings",
        highlight=False,
        soft_wrap=True,
    )
