"""The published rows as a table: what was measured, what the fit gives, and what it gives when it has not seen them."""

from dataclasses import replace

from rich.console import Console
from rich.table import Table

from launch.estimate.calibration import Calibration, Errors, tokens_per_second
from launch.estimate.published import Row, blind, published
from launch.estimate.step_time import count


def show_rows(console: Console, fitted: Calibration) -> None:
    """Print all rows, the errors in one line each, and the run that was never fitted."""
    table = Table(title="published rows: tokens/s per GPU", title_justify="left")
    table.add_column("source")
    table.add_column("model, sequence × micro × accumulation on GPUs, sharding")
    for column in ("measured", "fitted", "error", "row left out", "model left out"):
        table.add_column(column, justify="right")
    errors = zip(fitted.left_out_errors, fitted.left_out_model_errors, strict=True)
    for row, (alone, model) in zip(published(), errors, strict=True):
        predicted = prediction(row, fitted)
        table.add_row(
            row.source,
            row.name,
            f"{row.tokens_per_second:,.0f}",
            f"{predicted:,.0f}",
            f"{predicted / row.tokens_per_second - 1:+.1%}",
            f"{alone:+.1%}",
            f"{model:+.1%}",
        )
    console.print(table)
    for what, of in (("its row", fitted.left_out_errors), ("all rows of its model", fitted.left_out_model_errors)):
        one = Errors.of(of)
        console.print(
            f"with {what} left out: mean error {one.mean:.1%}, {one.within_15_percent} of {one.rows} within 15 %, "
            f"worst {one.worst:.1%}"
        )
    run = blind()
    console.print(f"never fitted: {run.source}, {run.name}: measured {run.tokens_per_second:,.0f}")
    for overlap in (True, False):
        predicted = prediction(replace(run, layout=replace(run.layout, overlap_data=overlap)), fitted)
        console.print(
            f"  predicted {'with' if overlap else 'without'} overlap of communication: {predicted:,.0f} "
            f"({predicted / run.tokens_per_second - 1:+.1%})"
        )


def prediction(row: Row, fitted: Calibration) -> float:
    """Tokens per second and GPU."""
    return tokens_per_second(count(row.network, row.layout, row.machine), fitted.rates[row.trainer])
