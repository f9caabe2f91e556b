"""Score one model and keep its artifact; what matches its artifact is not scored again."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np

from evaluation.heldout import Encoded
from evaluation.results import Result, score_by, stored_result, write_result
from recipes.artifacts import file_digest, tool_version
from recipes.errors import UserError
from recipes.schema import Recipe

CONVENTION = 1  # of perplexity.py and heldout.py; another number makes old artifacts stale


def score_model(name: str, folder: Path, encoded: Encoded, recipe: Recipe, out: Path, device: str | None) -> Result:
    """The result of the model in `folder` on `encoded`, from `out`/results/<name>.json if that matches."""
    from evaluation.perplexity import document_nll, load_model, weight_files

    files = [folder / "config.json", *weight_files(folder)]
    weights = {path.name: file_digest(path) for path in files}
    inputs = {**common_inputs(encoded, folder, recipe), "weights": weights}
    path = result_file(out, name)
    known = stored_result(path, inputs)
    if known and known.path == str(folder):
        return known
    model = load_model(folder, device or _device())
    with _progress(f"perplexity of {name}", sum(map(len, encoded.ids))) as advance:
        nll = document_nll(model, encoded, recipe.evaluation.sequence_length, advance)
    try:
        result = make_result(name, "model", folder, model.num_parameters(), inputs, encoded, nll)
    except UserError as error:
        raise UserError(f"{folder}: {error}") from error
    write_result(path, result)
    return result


def common_inputs(encoded: Encoded, tokenizer: Path, recipe: Recipe) -> dict[str, Any]:
    """What decides a score beside the weights."""
    return {
        "convention": CONVENTION,
        "heldout": encoded.digest,
        "sequence_length": recipe.evaluation.sequence_length,
        "separator": recipe.tokenizer.separator,
        "tokenizer": file_digest(tokenizer / "tokenizer.json"),
    }


def make_result(
    name: str,
    kind: Literal["model", "trigram"],
    folder: Path | None,
    parameters: int | None,
    inputs: dict[str, Any],
    encoded: Encoded,
    nll: np.ndarray,
) -> Result:
    """Scores per source and domain of `nll` (float64 [documents]), with all that the artifact says about itself."""
    sources, domains = score_by(encoded, nll)
    return Result(
        name=name,
        kind=kind,
        path=str(folder) if folder else None,
        parameters=parameters,
        inputs=inputs,
        versions=_versions(kind),
        sources=sources,
        domains=domains,
        source_domains={document.source: document.domain for document in encoded.documents},
    )


def _versions(kind: str) -> dict[str, str]:
    versions = {"cpt-launcher": tool_version(), "numpy": np.__version__}
    if kind == "model":
        import torch
        import transformers

        versions |= {"torch": torch.__version__, "transformers": transformers.__version__}
    return versions


def result_file(out: Path, name: str) -> Path:
    """Where the artifact of `name` lies. Raises UserError if that is no file name."""
    if not name or name.startswith(".") or "/" in name:
        raise UserError(f"the model name {name!r} cannot be a file name; choose one of letters, digits, - and _.")
    return out / "results" / f"{name}.json"


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


@contextmanager
def _progress(what: str, tokens: int) -> Iterator[Callable[[int], None]]:
    """A progress bar in tokens, silent when standard error is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("tokens"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(what, total=tokens)
        yield lambda count: bar.advance(task, count)
