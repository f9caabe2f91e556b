"""The whole path on this machine: data, a base model, four phases, exports, evaluation, report.

Every stage leaves its result in the run folder and is skipped when the result is there, so the command may be killed at
any moment and run again.
"""

from collections.abc import Sequence
from pathlib import Path

from data_prep.bundled import tokenizer_folder
from launch.stages import Stages
from recipes.artifacts import file_digest, matching_receipt, read_json
from recipes.checkpoints import final_checkpoint
from recipes.errors import UserError
from recipes.layout import RunFolder
from recipes.load import load_recipe
from recipes.schema import Recipe
from recipes.terminal import console, progress_bars

MANIFEST = "conversion.json"
BASE, CURRICULUM = "qwen3_tiny_base", "qwen3_tiny"


def quickstart(corpus: Path | None, folder: Path, overrides: Sequence[str] = ()) -> None:
    """Run all stages into `folder`, whose base/ and curriculum/ are run folders.

    Args:
        corpus: a corpus file with the domains general, legal and replay; the bundled sample if None.
        overrides: changes to the curriculum's recipe, as for `--set`.

    Raises:
        UserError: a stage failed; what is done stays.
    """
    base, run = RunFolder(folder / "base"), RunFolder(folder / "curriculum")
    overrides = [f"model.base={base.exported(1)}", *overrides]
    base_recipe, recipe = load_recipe(BASE), load_recipe(CURRICULUM, overrides)
    numbers = list(range(1, len(recipe.phases) + 1))
    stages = Stages(console(), 6)
    with stages("clean and tokenize the corpus, cut the phases"):
        _mix(base_recipe, corpus, base)
        _mix(recipe, corpus, run, show=True)
    with stages("train a small base model from random weights, on general text alone"):
        _train(BASE, [], base, [1])
        _export(base_recipe, base, 1)
    with stages("import the base into NeMo"):
        _import(base.exported(1), recipe, run)
    with stages(f"continue it through {len(numbers)} phases"):
        _train(CURRICULUM, overrides, run, numbers)
    with stages("export every phase to Hugging Face"):
        for number in numbers:
            _export(recipe, run, number, prove=number == numbers[-1])
    with stages("score base and phases on held-out text, write the report"):
        page = _evaluate(recipe, base, run, numbers)
    from evaluation.commands import read_results
    from launch.results_view import show_results

    stages.show_times()
    show_results(console(), *read_results(run.report), page, run.exported(numbers[-1]))


def _mix(recipe: Recipe, corpus: Path | None, run: RunFolder, show: bool = False) -> None:
    from data_prep.bundled import SAMPLE
    from data_prep.commands import show_tables
    from data_prep.mixture import build

    terminal = console()
    with progress_bars(terminal) as progress:
        tables = build(recipe, corpus or SAMPLE, run, None, progress)
    _check_heldout(recipe, run)
    if show:
        show_tables(terminal, run, tables)


def _check_heldout(recipe: Recipe, run: RunFolder) -> None:
    """Every domain must have held-out text, or the end of the way has nothing to say about it."""
    documents: dict[str, int] = {}
    for source in read_json(run.heldout / "receipt.json")["sources"].values():
        documents[source["domain"]] = documents.get(source["domain"], 0) + source["documents"]
    for domain, count in documents.items():
        if not count:
            raise UserError(
                f"recipe {recipe.name}: no document of domain {domain} is held out, so it cannot be evaluated; raise "
                f"heldout_fraction in the corpus file, or give the domain more documents."
            )


def _train(recipe: str, overrides: Sequence[str], run: RunFolder, phases: Sequence[int]) -> None:
    from launch.train import train

    train(recipe, overrides, "local", run, phases)


def _import(source: Path, recipe: Recipe, run: RunFolder) -> None:
    """Import the base, unless this very base is imported already."""
    inputs = {"base": read_json(source / MANIFEST)["digest"]}
    if matching_receipt(run.base_checkpoint / MANIFEST, inputs):
        return
    from convert.commands import summary
    from convert.import_hf import import_hf

    manifest = import_hf(source, run.base_checkpoint, recipe.shape_needed, replace=True, inputs=inputs)
    console().print(summary(manifest, run.base_checkpoint), highlight=False)


def _export(recipe: Recipe, run: RunFolder, phase: int, prove: bool = False) -> None:
    """Export the end of a phase, unless this very checkpoint is exported already.

    Everything is read back; `prove` compares logits under both engines too, which for a model so small takes longest.
    """
    checkpoint, out = final_checkpoint(run, phase), run.exported(phase)
    if checkpoint is None:
        raise UserError(f"{run.checkpoints(phase)}: phase {phase} is not finished; run the same command again.")
    files = sorted((checkpoint / "weights").glob("*"))
    inputs = {"checkpoint": {path.name: file_digest(path) for path in files}}
    if matching_receipt(out / MANIFEST, inputs):
        return
    from convert.commands import summary
    from convert.export_hf import Surroundings, export_hf, from_base
    from convert.logits import same_logits
    from launch.card import model_card

    if recipe.model.init == "hf":
        surroundings = from_base(Path(str(recipe.model.base)))
    else:
        surroundings = Surroundings(recipe.model.shape, tokenizer_folder(recipe.tokenizer.path, run.root / "tokenizer"))
    compare = same_logits if prove else None
    card = model_card(recipe, run, phase)
    manifest = export_hf(checkpoint, out, surroundings, card=card, replace=True, compare=compare, inputs=inputs)
    console().print(summary(manifest, out), highlight=False)


def _evaluate(recipe: Recipe, base: RunFolder, run: RunFolder, phases: Sequence[int]) -> Path:
    """Score the base, every phase, and a trigram on what the base was trained on; returns the report's page."""
    from data_prep.phase_folder import phase_documents
    from evaluation.commands import evaluate, evaluate_trigram, report
    from launch.card import refresh_cards

    models = {"base": base.exported(1)} | {f"phase_{number}": run.exported(number) for number in phases}
    evaluate(models, run.heldout, recipe, run.report)
    text = {"blend": read_json(base.phase(1) / "blend.json")["digest"]}
    evaluate_trigram(phase_documents(base, 1), text, base.exported(1), run.heldout, recipe, run.report)
    page = report(recipe, run)
    refresh_cards(recipe, run)
    return page
