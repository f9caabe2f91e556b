"""The `cpt` command. Bodies live beside what they do; heavy imports happen inside the command that needs them."""

from pathlib import Path
from typing import Annotated

import typer

from data_prep.commands import app as data_app
from launch.convert_command import app as convert_app
from launch.estimate.command import estimate
from launch.recipe_command import app as recipe_app
from launch.rehearse.command import rehearse
from recipes.errors import UserError
from recipes.layout import RunFolder
from recipes.load import load_cluster, load_recipe, phase_numbers
from recipes.terminal import console, print_json, run_command

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Continual pre-training of Qwen3: data, training, conversion, evaluation.",
)
app.add_typer(data_app, name="data")
app.add_typer(convert_app, name="convert")
app.add_typer(recipe_app, name="recipe")
app.command()(estimate)
app.command()(rehearse)

RecipeName = Annotated[str, typer.Argument(metavar="RECIPE", help="A shipped recipe (qwen3_tiny, …) or a YAML file.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="Override a field: phases.2.token_budget=1e6")
]
Run = Annotated[Path | None, typer.Option("--run", metavar="FOLDER", help="The run folder; runs/RECIPE by default.")]


def main() -> None:
    """Entry point of the console script."""
    run_command(app)


@app.command()
def plan(
    recipe: RecipeName,
    cluster: Annotated[str | None, typer.Option(help="A shipped cluster (local, mn5) or a YAML file.")] = None,
    run: Run = None,
    overrides: Overrides = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON.")] = False,
) -> None:
    """Print phases, tokens, iterations, epochs per source, schedule and batch identity; refuse what cannot be."""
    from data_prep.streams import planning_sizes
    from recipes.plan import expected_sizes, make_plan
    from recipes.plan_view import show_plan

    loaded = load_recipe(recipe, overrides or [])
    on = load_cluster(cluster) if cluster else None
    sizes = planning_sizes(loaded, _folder(run, loaded.name)) or expected_sizes(loaded)
    if not sizes:
        raise UserError(f"recipe {loaded.name}: give `expected_tokens`, or build its shards first with `cpt data mix`.")
    planned = make_plan(loaded, sizes, on)
    if as_json:
        print_json(planned.model_dump(mode="json"))
    else:
        show_plan(console(), loaded, planned, sizes, on)


@app.command()
def quickstart(
    corpus: Annotated[Path | None, typer.Option(help="A corpus file; the bundled sample by default.")] = None,
    run: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Where everything goes; runs/quickstart by default, runs/quickstart_CORPUS for a corpus.",
        ),
    ] = None,
    overrides: Overrides = None,
) -> None:
    """The whole path on this machine: data, a tiny base, four phases, exports, evaluation, report."""
    from launch.quickstart import quickstart as whole_path

    default = Path("runs", f"quickstart_{corpus.stem}" if corpus else "quickstart")
    whole_path(corpus, run or default, overrides or [])


@app.command()
def train(
    recipe: RecipeName,
    run: Run = None,
    cluster: Annotated[str, typer.Option(help="A shipped cluster or a YAML file.")] = "local",
    phases: Annotated[str | None, typer.Option(help="Numbers or names, with commas; all by default.")] = None,
    overrides: Overrides = None,
    accept_changes: Annotated[
        list[str] | None,
        typer.Option(
            "--accept-change",
            metavar="FIELD",
            help="Go on although this field of the run lock has changed; its history notes it.",
        ),
    ] = None,
) -> None:
    """Train phases of a recipe on this machine, from where the run folder left off."""
    from launch.train import train as train_here

    loaded = load_recipe(recipe, overrides or [])
    chosen = phase_numbers(loaded, phases)
    train_here(recipe, overrides or [], cluster, _folder(run, loaded.name), chosen, accept_changes or [])


@app.command()
def evaluate(
    recipe: RecipeName,
    models: Annotated[
        list[str], typer.Argument(metavar="NAME=FOLDER...", help="Hugging Face folders, the base first.")
    ],
    run: Run = None,
    overrides: Overrides = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """Perplexity and bits per byte on the run's held-out text, per source and domain."""
    from evaluation.commands import evaluate as score
    from launch.results_view import results_table

    loaded = load_recipe(recipe, overrides or [])
    folder = _folder(run, loaded.name)
    pairs = [_name_and_folder(text) for text in models]
    named = dict(pairs)
    if len(named) < len(pairs):
        raise UserError(f"models {' '.join(models)}: every model needs a name of its own.")
    results = score(named, folder.heldout, loaded, folder.report)
    if as_json:
        print_json([result.model_dump(mode="json") for result in results])
    else:
        console().print(results_table(results, None))


@app.command()
def report(recipe: RecipeName, run: Run = None, overrides: Overrides = None) -> None:
    """Write report.html, .md and .json from the results of `cpt evaluate`, compared with the one named `base`; model
    cards of the run's exports get the table."""
    from evaluation.commands import report as write
    from launch.card import refresh_cards

    loaded = load_recipe(recipe, overrides or [])
    folder = _folder(run, loaded.name)
    typer.echo(write(loaded, folder))
    refresh_cards(loaded, folder)


def _name_and_folder(text: str) -> tuple[str, Path]:
    name, equals, folder = text.partition("=")
    if not equals or not name or not folder:
        raise UserError(f"model {text!r}: expected NAME=FOLDER, for example base=models/Qwen3-4B.")
    return name, Path(folder)


def _folder(run: Path | None, name: str) -> RunFolder:
    return RunFolder(run or Path("runs") / name)


if __name__ == "__main__":
    main()
