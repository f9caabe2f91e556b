"""The commands of the data side: `cpt data mix`, and `python data_prep/build_mixture.py`, which is the same."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from data_prep.bundled import SAMPLE, tokenizer_folder
from data_prep.verify.command import verify
from recipes.errors import UserError
from recipes.layout import RunFolder
from recipes.load import load_recipe, phase_number
from recipes.terminal import console, print_json, progress_bars

if TYPE_CHECKING:
    from data_prep.phase_table import PhaseTable
    from data_prep.shards import Prepared

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Corpus -> shards -> phase mixtures.")


app.command()(verify)


@app.callback()
def data() -> None:
    """Corpus -> shards -> phase mixtures."""


Corpus = Annotated[Path, typer.Option(metavar="FILE", help="A corpus file.", show_default="the bundled sample")]
RecipeName = Annotated[str, typer.Option(help="A shipped recipe or a YAML file.")]
Run = Annotated[Path | None, typer.Option(metavar="FOLDER", help="The run folder.", show_default="runs/RECIPE")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="Override a field of the recipe.")
]
Workers = Annotated[int | None, typer.Option(min=1, help="Processes.", show_default="one per core")]
Strict = Annotated[bool, typer.Option("--strict", help="Stop at the first document that cannot be read.")]


@app.command()
def prepare(
    corpus: Corpus = SAMPLE,
    recipe: RecipeName = "qwen3_tiny",
    run: Run = None,
    overrides: Overrides = None,
    workers: Workers = None,
    strict: Strict = False,
    rank: Annotated[int, typer.Option(min=0, help="Which of the machines that share the work this is.")] = 0,
    world_size: Annotated[int, typer.Option(min=1, help="How many machines share the work.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print the receipts as JSON.")] = False,
) -> None:
    """Build the shards of a corpus: clean, select, tokenize. Machines share the parts; the last one finishes."""
    from data_prep.workers import start_server

    if rank >= world_size:
        raise UserError(f"--rank {rank}: expected a number below --world-size {world_size}.")
    loaded = load_recipe(recipe, overrides or [])
    folder = RunFolder(run or Path("runs") / loaded.name)
    tokenizer = tokenizer_folder(loaded.tokenizer.path, folder.root / "tokenizer")
    if workers != 1:
        start_server(tokenizer / "tokenizer.json")  # it loads while this process does

    from data_prep.clean_corpus import Share
    from data_prep.encode import Encoder
    from data_prep.preparation import Options
    from data_prep.shards import prepare as prepare_shards

    encoder = Encoder(tokenizer, loaded.tokenizer.separator)
    with progress_bars() as progress:
        options = Options(workers, Share(rank, world_size), strict)
        prepared = prepare_shards(corpus, encoder, folder, progress, options)
    if as_json:
        print_json(prepared._asdict())
    else:
        show_shards(console(), folder, prepared)


@app.command()
def mix(
    phase: Annotated[str | None, typer.Option(help="Number or name of a phase; all by default.")] = None,
    corpus: Corpus = SAMPLE,
    recipe: RecipeName = "qwen3_tiny",
    run: Run = None,
    overrides: Overrides = None,
    workers: Workers = None,
    strict: Strict = False,
    build_cache: Annotated[
        bool, typer.Option("--build-cache", help="Build Megatron's sample indices now, so that ranks only map them.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the tables as JSON.")] = False,
) -> None:
    """Build a phase's mixture: shards if they are missing, the phase's documents, its blend, a table and a plot.

    A changed phase is made again alone; phases after it only if documents that they would read have changed hands.
    """
    from data_prep.megatron_cache import build_caches
    from data_prep.mixture import build  # numpy: not for `cpt --help`
    from data_prep.preparation import Options

    loaded = load_recipe(recipe, overrides or [])
    phases = None if phase is None else [phase_number(loaded, phase)]
    folder = RunFolder(run or Path("runs") / loaded.name)
    errors = Console(stderr=True)
    with progress_bars(errors) as progress:
        tables = build(loaded, corpus, folder, phases, progress, Options(workers=workers, strict=strict))
    if build_cache:
        build_caches(folder, [table.number for table in tables])
        errors.print(
            f"Megatron's index files are in {folder.phase(0).parent}/<n>/cache", highlight=False, soft_wrap=True
        )
    if as_json:
        print_json([table.model_dump(mode="json") for table in tables])
        return
    show_tables(console(), folder, tables)


def show_shards(terminal: Console, folder: RunFolder, prepared: "Prepared") -> None:
    """Print what every source gives, or what is left to other machines."""
    from data_prep.shard_receipts import dropped_lines

    for left, what in (
        (prepared.parts_left, "parts to be cleaned"),
        (prepared.sources_left, "sources to be tokenized"),
    ):
        if left:
            terminal.print(f"this machine's share is done; {left} {what} are left to others", highlight=False)
    if not prepared.receipts:
        return
    table = Table()
    for column in ("source", "domain"):
        table.add_column(column)
    for column in ("dropped", "held out", "documents", "tokens"):
        table.add_column(column, justify="right")
    for receipt in prepared.receipts:
        numbers = (
            sum(receipt["dropped"].values()),
            receipt["heldout"]["documents"],
            receipt["documents"],
            receipt["tokens"],
        )
        table.add_row(receipt["source"], receipt["domain"], *(f"{number:,}" for number in numbers))
    terminal.print(table)
    for line in dropped_lines(prepared.receipts):
        terminal.print(line, highlight=False, markup=False, soft_wrap=True)
    report = f", what was dropped and why in {folder.data_report}" if folder.data_report.is_file() else ""
    terminal.print(f"shards in {folder.shards}{report}", highlight=False)


def show_tables(terminal: Console, folder: RunFolder, tables: "Sequence[PhaseTable]") -> None:
    """Print what the corpus lost to cleaning, and every phase."""
    from data_prep.phase_view import show_phase
    from data_prep.shard_receipts import dropped_lines, shard_receipts

    for line in dropped_lines(shard_receipts(folder)):
        terminal.print(line, highlight=False, markup=False, soft_wrap=True)
    for table in tables:
        show_phase(terminal, folder, table)
