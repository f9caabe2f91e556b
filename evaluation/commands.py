"""What `cpt evaluate` and `cpt report` do. torch, transformers and matplotlib are imported only where they are used."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from evaluation import results
from evaluation.heldout import Document, bounded, encode, load_tokenizer, read_heldout
from evaluation.results import Result
from evaluation.scoring import common_inputs, make_result, result_file, score_model
from recipes.artifacts import read_json
from recipes.errors import UserError
from recipes.layout import RunFolder
from recipes.schema import Recipe

TRIGRAM = "trigram"


def evaluate(
    models: Mapping[str, Path], heldout: Path, recipe: Recipe, out: Path, device: str | None = None
) -> list[Result]:
    """Score Hugging Face folders on the held-out documents; one artifact per model, `out`/results/<name>.json.

    The first model's tokenizer decides where long documents are cut, so all see the same text. A model whose artifact
    matches its weights, tokenizer, text and recipe is not scored again. `device` None: cuda where there is one.

    Raises:
        UserError: no models, a broken folder, held-out file or tokenizer, or a loss that is not a number.
    """
    from evaluation.perplexity import check_folder

    if not models:
        raise UserError("expected at least one model to evaluate; give NAME=FOLDER.")
    for folder in models.values():
        check_folder(folder)
    documents = _documents(heldout, next(iter(models.values())), recipe)
    found = []
    for name, folder in models.items():
        encoded = encode(documents, load_tokenizer(folder), recipe.tokenizer.separator)
        found.append(score_model(name, folder, encoded, recipe, out, device))
        results.compare(found[0], found[-1:])
    return found


def evaluate_trigram(
    documents: Iterable[np.ndarray],
    trained_on: Mapping[str, str],
    tokenizer: Path,
    heldout: Path,
    recipe: Recipe,
    out: Path,
) -> Result:
    """Train a trigram on token ids and score it on exactly what `evaluate` scores with the same tokenizer.

    Args:
        documents: integer arrays [tokens], one per training document (data_prep.phase_folder.phase_documents); read
            only if there is no matching artifact.
        trained_on: name -> sha256 of what `documents` come from, for the artifact.
        tokenizer: folder with the tokenizer.json that made the ids.
    """
    from evaluation.ngram import train_trigram

    encoded = encode(_documents(heldout, tokenizer, recipe), load_tokenizer(tokenizer), recipe.tokenizer.separator)
    inputs = {**common_inputs(encoded, tokenizer, recipe), "trained_on": dict(trained_on)}
    path = result_file(out, TRIGRAM)
    if known := results.stored_result(path, inputs):
        return known
    nll = train_trigram(documents, encoded.vocab_size, encoded.separator_id).document_nll(encoded)
    result = make_result(TRIGRAM, "trigram", None, None, inputs, encoded, nll)
    results.write_result(path, result)
    return result


def report(recipe: Recipe, run: RunFolder, base: str = "base") -> Path:
    """Write report.html, .md and .json into the run's report folder from its results, plan and training log.

    Results are those of `evaluate` and `evaluate_trigram` with `out` = run.report; `base` names the one to compare.

    Raises:
        UserError: there is no result of that name, or a file of the run is damaged.
    """
    from evaluation.metrics import read_metrics
    from evaluation.report import make_report, write_report

    models, trigram = read_results(run.report, base)
    steps, validations = read_metrics(run.metrics)
    plan, domains = _plan(run)
    content = make_report(recipe, models, plan, domains, steps, trigram)
    return write_report(content, steps, run.report, validations)


def read_results(out: Path, base: str = "base") -> tuple[list[Result], Result | None]:
    """The stored results of `out`: the models, base first and the others by name, and the trigram if there is one.

    Raises:
        UserError: no result is named `base`, or an artifact is damaged.
    """
    found = [results.read_result(path) for path in sorted((out / "results").glob("*.json"))]
    models = sorted((r for r in found if r.kind == "model"), key=lambda r: (r.name != base, len(r.name), r.name))
    if not models or models[0].name != base:
        raise UserError(f"{out / 'results'}: expected the result of {base!r}, found none; run `cpt evaluate` first.")
    return models, next((result for result in found if result.kind == "trigram"), None)


def _documents(heldout: Path, tokenizer: Path, recipe: Recipe) -> list[Document]:
    limits = recipe.evaluation
    return bounded(read_heldout(heldout), load_tokenizer(tokenizer), limits.tokens_per_source, limits.sequence_length)


def _plan(run: RunFolder) -> tuple[Any, dict[str, str]]:
    """The run's plan and the domain of each of its sources; (None, {}) if the run has none."""
    from data_prep.shard_receipts import shard_sizes
    from recipes.load import validate
    from recipes.plan import Plan

    if not run.plan.is_file():
        return None, {}
    content = read_json(run.plan)
    known = {name: content[name] for name in Plan.model_fields if name in content} if isinstance(content, dict) else {}
    return validate(Plan, known, f"plan {run.plan}"), {size.name: size.domain for size in shard_sizes(run)}
