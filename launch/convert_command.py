"""`cpt convert`: the command line of the converters."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recipes.load import load_recipe
from recipes.schema import Recipe
from recipes.terminal import console, print_json, progress_bars

if TYPE_CHECKING:
    from convert.model_card import Card

app = typer.Typer(no_args_is_help=True, help="Hugging Face <-> NeMo checkpoints.")

Base = Annotated[
    Path | None, typer.Option(metavar="FOLDER", help="The base model: config and tokenizer; by default the run's.")
]
Dtype = Annotated[
    str | None, typer.Option(metavar="DTYPE", help="bf16, fp16 or fp32; by default that of the weights, bit for bit.")
]
Private = Annotated[bool, typer.Option("--private", help="Of a new repository on the Hub: make it private.")]
Verify = Annotated[
    bool,
    typer.Option("--verify/--no-verify", help="Read back what was written, and compare logits under both engines."),
]


@app.command("import")
def convert_import(
    hf_dir: Annotated[Path, typer.Argument(help="Folder of a Hugging Face Qwen3 model.")],
    out: Annotated[Path, typer.Argument(help="The NeMo checkpoint to write; for training, RUN/base_checkpoint.")],
    recipe: Annotated[str | None, typer.Option(help="Refuse a model of another shape than this recipe's.")] = None,
    allow_pickle: Annotated[
        bool, typer.Option("--allow-pickle", help="Read pytorch_model*.bin where there are no safetensors.")
    ] = False,
    verify: Verify = True,
) -> None:
    """Hugging Face folder -> NeMo checkpoint, written whole, read back and compared."""
    from convert import commands

    shape = load_recipe(recipe).shape_needed if recipe else None
    with progress_bars() as progress:
        manifest = commands.convert_import(hf_dir, out, shape, allow_pickle, verify, progress)
    typer.echo(commands.summary(manifest, out))


@app.command("export")
def convert_export(
    checkpoint: Annotated[Path, typer.Argument(help="A NeMo checkpoint, e.g. RUN/training/phase_1/iteration_0000064.")],
    out: Annotated[Path, typer.Argument(help="The Hugging Face folder to write.")],
    base: Base = None,
    recipe: Annotated[
        str | None,
        typer.Option(help="The recipe it was trained with: for the model card, and for shape and tokenizer."),
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="What the recipe was trained with.")
    ] = None,
    dtype: Dtype = None,
    verify: Verify = True,
    push_to_hub: Annotated[
        str | None, typer.Option(metavar="USER/NAME", help="Afterwards send it to the Hugging Face Hub; asks before.")
    ] = None,
    private: Private = False,
) -> None:
    """NeMo checkpoint -> Hugging Face folder, written whole, read back and compared."""
    from convert import commands

    loaded = load_recipe(recipe, overrides or []) if recipe else None
    shape = tokenizer = None
    if loaded and not base and not loaded.model.base:
        from data_prep.bundled import tokenizer_folder

        shape, tokenizer = loaded.model.shape, tokenizer_folder(loaded.tokenizer.path, out.parent / "tokenizer")
    card = _card(loaded, checkpoint) if loaded else None
    with progress_bars() as progress:
        manifest = commands.convert_export(
            checkpoint, out, base, shape, tokenizer, dtype=dtype, card=card, verify=verify, progress=progress
        )
    typer.echo(commands.summary(manifest, out))
    if push_to_hub:
        publish(out, push_to_hub, private)


def _card(recipe: Recipe, checkpoint: Path) -> "Card | None":
    """What the run of the checkpoint knows; nothing if it lies in no run.

    Raises:
        UserError: the run was trained with another recipe.
    """
    from convert.origin import run_of
    from launch.card import model_card
    from launch.lock import refuse_other_recipe

    run = run_of(checkpoint)
    if run is None:
        return None
    refuse_other_recipe(run[0], recipe)
    return model_card(recipe, *run)


@app.command()
def publish(
    folder: Annotated[Path, typer.Argument(help="An exported or merged Hugging Face folder.")],
    repository: Annotated[str, typer.Argument(metavar="USER/NAME", help="The model's name on the Hub.")],
    private: Private = False,
) -> None:
    """Check an exported folder, show what would be sent to the Hugging Face Hub, ask, and send it."""
    from convert.publish import ask
    from convert.publish import publish as send

    with progress_bars() as progress:
        url = send(folder, repository, private, ask, progress)
    typer.echo(url or "nothing was sent.")


@app.command("verify")
def convert_verify(
    a: Annotated[Path, typer.Argument(help="A Hugging Face folder or a NeMo checkpoint.")],
    b: Annotated[Path, typer.Argument(help="Another one.")],
    base: Base = None,
    logits: Annotated[bool, typer.Option("--logits/--no-logits", help="Compare what the models compute.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Whether two folders hold the same model: tensors bit by bit, then logits; status 1 if they do not."""
    from convert.verify import verify

    with progress_bars() as progress:
        found = verify(a, b, base, logits=logits, progress=progress)
    if as_json:
        print_json(found.model_dump(mode="json"))
    else:
        found.show(console())
    raise typer.Exit(0 if found.equal else 1)


@app.command("merge")
def convert_merge(
    out: Annotated[Path, typer.Argument(help="The Hugging Face folder to write.")],
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL[=WEIGHT]...",
            help="Hugging Face folders and NeMo checkpoints. Without weights: their average.",
        ),
    ],
    origin: Annotated[
        Path | None,
        typer.Option(
            metavar="MODEL",
            help="Task arithmetic: what the models come from; what each adds to it is added, times its weight.",
        ),
    ] = None,
    ema: Annotated[
        float | None, typer.Option(metavar="DECAY", help="Exponential moving average of the models, oldest first.")
    ] = None,
    base: Base = None,
    dtype: Dtype = None,
    verify: Verify = True,
) -> None:
    """Average, weighted sum or task arithmetic of models -> Hugging Face folder, one tensor in memory at a time.

    A chat vector: cpt convert merge OUT CPT INSTRUCT --origin BASE
    """
    from convert import commands

    with progress_bars() as progress:
        manifest = commands.convert_merge(
            out, models, origin=origin, ema=ema, base=base, dtype=dtype, verify=verify, progress=progress
        )
    typer.echo(commands.summary(manifest, out))


@app.command("average")
def convert_average(
    out: Annotated[Path, typer.Argument(help="The NeMo checkpoint to write.")],
    checkpoints: Annotated[list[Path], typer.Argument(help="NeMo checkpoints of one run, oldest first.")],
    ema: Annotated[
        float | None, typer.Option(metavar="DECAY", help="Exponential moving average; uniform without it.")
    ] = None,
    weights_only: Annotated[bool, typer.Option("--weights-only", help="Leave the optimizer state out.")] = False,
) -> None:
    """NeMo checkpoints -> their average as a checkpoint, weights and optimizer, that training can go on from."""
    from convert import commands

    with progress_bars() as progress:
        manifest = commands.convert_average(out, checkpoints, ema=ema, optimizer=not weights_only, progress=progress)
    typer.echo(commands.summary(manifest, out))
