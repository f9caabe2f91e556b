"""`cpt rehearse`."""

from typing import Annotated

import typer

from recipes.errors import UserError
from recipes.load import load_cluster, load_recipe, phase_numbers
from recipes.terminal import console, print_json


def rehearse(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A shipped recipe (qwen3_4b, …) or a YAML file.")],
    cluster: Annotated[str, typer.Option(help="A shipped cluster (mn5) or a YAML file.")],
    phase: Annotated[str | None, typer.Option(help="Numbers or names, with commas; all by default.")] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="Override a field of the recipe.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the rehearsal as JSON.")] = False,
) -> None:
    """All ranks of a cluster on one CPU, before it is booked: layout, memory per rank, who reads which samples."""
    from launch.rehearse import rehearsal, view

    loaded, on = load_recipe(recipe, overrides or []), load_cluster(cluster)
    answer = rehearsal.rehearse(loaded, on, phase_numbers(loaded, phase))
    if as_json:
        print_json(rehearsal.as_json(answer))
    else:
        view.show_rehearsal(console(), answer)
    if count := len(answer.problems):
        problems = "1 problem" if count == 1 else f"{count} problems"
        raise UserError(f"recipe {loaded.name} on {on.name}: the rehearsal found {problems}; they are listed above.")
