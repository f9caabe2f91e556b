"""`cpt estimate`."""

from typing import Annotated

import typer

from recipes.load import load_cluster, load_recipe, phase_number
from recipes.terminal import console, print_json


def estimate(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A shipped recipe (qwen3_4b, …) or a YAML file.")],
    cluster: Annotated[str, typer.Option(help="A shipped cluster (mn5) or a YAML file.")],
    phase: Annotated[str, typer.Option(help="Number or name.")] = "1",
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="Override a field of the recipe.")
    ] = None,
    rows: Annotated[bool, typer.Option("--rows", help="Print the published rows and the errors instead.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the estimate as JSON.")] = False,
) -> None:
    """Throughput and cost before booking: where a step's time goes, layouts that fit, checkpoints, spare nodes."""
    from launch.estimate import report, rows_view, view
    from launch.estimate.calibration import calibration

    if rows:
        rows_view.show_rows(console(), calibration())
        return
    loaded = load_recipe(recipe, overrides or [])
    answer = report.estimate(loaded, phase_number(loaded, phase), load_cluster(cluster), calibration())
    if as_json:
        print_json(report.as_json(answer))
    else:
        view.show_estimate(console(), answer)
