"""The published rows as a table: what was measured, what the fit gives, and what it gives when it has not seen them."""

from dataclasses import replace

from rich.console import Console
from rich.table import Table

from launch.estimate.calibration import Calibration, Errors, tokens_per_second
from launch.estimate.communication import BF16
from launch.estimate.published import Row, blind, published
from launch.estimate.step_time import breakdown, count


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
            f"{alone:+.1%}" if abs(alone) <= 0.15 else f"[red]{alone:+.1%}[/]",
            f"{model:+.1%}",
        )
    console.print(table)
    for what, of in (
        ("its row left out", fitted.left_out_errors),
        ("its row left out, of NeMo's rows", fitted.our_left_out_errors),
        ("all rows of its model left out", fitted.left_out_model_errors),
    ):
        one = Errors.of(of)
        console.print(
            f"with {what}: mean error {one.mean:.1%}, {one.within_15_percent} of {one.rows} within 15 %, "
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
    console.print(_reason(run, fitted), highlight=False)


def _reason(run: Row, fitted: Calibration) -> str:
    """Why that run is slow, in seconds of a step in which nothing hides."""
    layout = replace(run.layout, overlap_data=False)
    parts = breakdown(count(run.network, layout, run.machine), fitted.rates[run.trainer])
    arithmetic = parts.matmul + parts.attention + parts.activations + parts.softmax + parts.launch
    gradients, weights = (size * run.network.parameters / 1e9 for size in (layout.reduce_bytes, BF16))
    return (
        f"  why: {layout.tokens_per_gpu:,.0f} tokens a step are {arithmetic:.2f} s of arithmetic on a GPU; "
        f"{gradients:.0f} GB of gradients and {weights:.0f} GB of weights take {parts.reduce + parts.gather:.2f} s "
        f"between nodes, whatever the batch. Twice the tokens a step hide most of that."
    )


def prediction(row: Row, fitted: Calibration) -> float:
    """Tokens per second and GPU."""
    return tokens_per_second(count(row.network, row.layout, row.machine), fitted.rates[row.trainer])
