"""One phase as a table on a terminal."""

from rich.console import Console
from rich.table import Table

from data_prep.phase_table import PhaseTable, SourceRow
from recipes.layout import RunFolder

COLUMNS = ("documents", "tokens", "share asked", "share reached", "epochs", "so far", "most", "truncated", "padding")


def show_phase(terminal: Console, folder: RunFolder, phase: PhaseTable) -> None:
    """Print what was asked of every source and what it gives; `most`: times that any one document was read so far."""
    done = "was there already" if phase.skipped else "built"
    if phase.rebuilt:
        done += " again"
    terminal.print(
        f"[bold]phase {phase.number} {phase.name}[/] {done}: {phase.iterations:,} iterations, "
        f"{phase.samples:,} sequences of {phase.sequence_length:,} = {phase.tokens:,} tokens, "
        f"in {folder.phase(phase.number)}",
        highlight=False,
    )
    if phase.rebuilt:
        terminal.print(f"because {phase.rebuilt}", highlight=False, markup=False, soft_wrap=True)
    table = Table()
    for column in ("source", "domain"):
        table.add_column(column)
    for column in COLUMNS:
        table.add_column(column, justify="right")
    for row in phase.sources:
        table.add_row(*_cells(row))
    terminal.print(table)
    for row in phase.sources:
        if abs(row.samples - row.samples_asked) > 1:
            terminal.print(
                f"[yellow]{row.source}: asked for {row.samples_asked:,} sequences, gives {row.samples:,}: its "
                f"documents are too long for what the phase takes of it; shorten them or give the phase more tokens[/]",
                highlight=False,
                soft_wrap=True,
            )


def _cells(row: SourceRow) -> tuple[str, ...]:
    long = f" ≥ {row.minimum_document_tokens:,} tokens" if row.minimum_document_tokens > 1 else ""
    return (
        row.source + long,
        row.domain,
        f"{row.documents:,}",
        f"{row.tokens:,}",
        f"{100 * row.share_asked:.2f} %",
        f"{100 * row.share_reached:.2f} %",
        f"{row.epochs:.3f}",
        f"{row.epochs_so_far:.3f}",
        f"{row.most_readings} ×",
        f"{100 * row.truncated:.1f} %",
        f"{100 * row.padding:.2f} %",
    )
