"""`cpt recipe`: what a recipe becomes in NeMo."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from typing import Annotated

import typer

from recipes.errors import UserError
from recipes.load import load_cluster, load_recipe, phase_numbers
from recipes.terminal import print_json

app = typer.Typer(no_args_is_help=True, help="What a recipe becomes in NeMo.")


@app.callback()
def recipe() -> None:
    """What a recipe becomes in NeMo."""


@app.command()
def show(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A shipped recipe (qwen3_1p7b, …) or a YAML file.")],
    phase: Annotated[str | None, typer.Option(help="A number or a name; all phases by default.")] = None,
    cluster: Annotated[str, typer.Option(help="What it is rendered for: a shipped cluster or a YAML file.")] = "mn5",
    diff: Annotated[bool, typer.Option("--diff", help="The difference from NeMo's own recipe for the model.")] = False,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="Override a field of the recipe.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the configurations as JSON.")] = False,
) -> None:
    """Print the NeMo configuration of each phase, on GPUs with Transformer Engine where the cluster has GPUs."""
    if diff and as_json:
        raise UserError("--diff is text: leave out --json.")
    loaded, on = load_recipe(recipe, overrides or []), load_cluster(cluster)
    numbers = phase_numbers(loaded, phase)

    with _quiet():
        from recipes.engine.platform import prepare

        prepare()
        from recipes.engine import show as shown

        configs = {number: shown.configuration(loaded, number, on) for number in numbers}
        stock = shown.stock_configuration(loaded) if diff else None
    if as_json:
        print_json([shown.tree(config) for config in configs.values()])
        return
    machine = "CUDA and Transformer Engine" if on.gpus_per_node else "CPUs"
    for number, config in configs.items():
        typer.echo(f"# {loaded.name}, phase {number} ({loaded.phase(number).name}), on {on.name} with {machine}")
        typer.echo(shown.difference(config, *stock) if stock else shown.text(shown.tree(config)))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what libraries print while they are imported, and show it only where that fails."""
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as printed:
        os.dup2(printed.fileno(), 2)
        try:
            yield
        except BaseException as error:
            if not isinstance(error, UserError):
                printed.seek(0)
                os.write(terminal, printed.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(terminal, 2)
            os.close(terminal)
