"""The commands of the data side: `cpt data mix`, and `python data_prep/build_mixture.py`, which is the same."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Table

from data_prep.corpus import SAMPLE
from recipes.layout import RunFolder
from recipes.load import load_recipe, phase_number
from recipes.terminal import console, print_json

if TYPE_CHECKING:
    from data_prep.phase_folder import PhaseTable

NOTABLE = 0.02  # of a phase: a share that is missed by more is said

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Corpus -> shards -> phase mixtures.")


@app.callback()
def data() -> None:
    """Corpus -> shards -> phase mixtures."""


@app.command()
def mix(
    phase: Annotated[str | None, typer.Option(help="Number or name of a phase; all by default.")] = None,
    corpus: Annotated[
        Path, typer.Option(metavar="FILE", help="A corpus file.", show_default="the bundled sample")
    ] = SAMPLE,
    recipe: Annotated[str, typer.Option(help="A shipped recipe or a YAML file.")] = "qwen3_tiny",
    run: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="The run folder.", show_default="runs/RECIPE")
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="Override a field of the recipe.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the tables as JSON.")] = False,
) -> None:
    """Build a phase's mixture: shards if they are missing, the phase's documents, its blend, and a table."""
    from data_prep.mixture import build  # numpy: not for `cpt --help`

    loaded = load_recipe(recipe, overrides or [])
    phases = None if phase is None else [phase_number(loaded, phase)]
    folder = RunFolder(run or Path("runs") / loaded.name)
    errors = Console(stderr=True)
    with progress_bars(errors) as progress:
        tables = build(loaded, corpus, folder, phases, progress)
    if as_json:
        print_json([table.model_dump(mode="json") for table in tables])
        return
    show_tables(console(), folder, tables)


def progress_bars(terminal: Console) -> Progress:
    """Bars with rate and time left, on a terminal only."""
    columns = (TextColumn("{task.description}"), BarColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    return Progress(*columns, console=terminal, disable=not terminal.is_terminal, transient=True)


def show_tables(terminal: Console, folder: RunFolder, tables: "Sequence[PhaseTable]") -> None:
    """Print what the corpus lost to cleaning, and every phase."""
    from data_prep.shards import dropped_lines, shard_receipts

    for line in dropped_lines(shard_receipts(folder)):
        terminal.print(line, highlight=False, markup=False, soft_wrap=True)
    for table in tables:
        show_phase(terminal, folder, table)


def show_phase(terminal: Console, folder: RunFolder, phase: "PhaseTable") -> None:
    """Print one phase: what was asked of every source and what it gives."""
    done = "was there already" if phase.skipped else "built"
    terminal.print(
        f"[bold]phase {phase.number} {phase.name}[/] {done}: {phase.iterations:,} iterations, "
        f"{phase.samples:,} sequences of {phase.sequence_length:,} = {phase.tokens:,} tokens, "
        f"in {folder.phase(phase.number)}",
        highlight=False,
    )
    table = Table()
    for column in ("source", "domain"):
        table.add_column(column)
    for column in ("documents", "tokens", "share asked", "share reached", "epochs", "epochs so far"):
        table.add_column(column, justify="right")
    for row in phase.sources:
        shares = (f"{100 * row.share_asked:.2f} %", f"{100 * row.share_reached:.2f} %")
        epochs = (f"{row.epochs:.3f}", f"{row.epochs_so_far:.3f}")
        table.add_row(row.source, row.domain, f"{row.documents:,}", f"{row.tokens:,}", *shares, *epochs)
    terminal.print(table)
    for row in phase.sources:
        if abs(row.share_reached - row.share_asked) > NOTABLE:
            terminal.print(
                f"[yellow]{row.source}: asked {row.share_asked:.1%}, reached {row.share_reached:.1%}: documents are "
                f"too long for what the phase takes of each source; shorten them or give the phase more tokens[/]",
                highlight=False,
                soft_wrap=True,
            )
