"""`cpt estimate`."""

from pathlib import Path
from typing import Annotated

import typer

from recipes.layout import RunFolder
from recipes.load import load_cluster, load_recipe, phase_number
from recipes.terminal import console, print_json


def estimate(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A shipped recipe (qwen3_4b, …) or a YAML file.")],
    cluster: Annotated[str, typer.Option(help="A shipped cluster (mn5) or a YAML file.")],
    phase: Annotated[str, typer.Option(help="Number or name.")] = "1",
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="Override a field of the recipe.")
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option("--run", metavar="FOLDER", help="The run whose documents are masked; runs/RECIPE by default."),
    ] = None,
    document_tokens: Annotated[
        int | None,
        typer.Option(min=1, help="Mean tokens of a document, for phases with document_masking, instead of the run's."),
    ] = None,
    rows: Annotated[bool, typer.Option("--rows", help="Print the published rows and the errors instead.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the estimate as JSON.")] = False,
) -> None:
    """Throughput and cost before booking: where a step's time goes, layouts that fit, checkpoints, spare nodes."""
    from launch.estimate import report, rows_view, view
    from launch.estimate.calibration import calibration
    from launch.estimate.document_length import document_length

    if rows:
        rows_view.show_rows(console(), calibration())
        return
    loaded = load_recipe(recipe, overrides or [])
    number, on = phase_number(loaded, phase), load_cluster(cluster)
    documents = document_length(loaded, number, RunFolder(run or Path("runs", loaded.name)), document_tokens)
    answer = report.estimate(loaded, number, on, calibration(), documents)
    if as_json:
        print_json(report.as_json(answer))
    else:
        view.show_estimate(console(), answer)
