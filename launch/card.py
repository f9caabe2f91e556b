"""What the model card of an export says: from the recipe, the receipts of the run, and its evaluation."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from convert.manifest import NAME as MANIFEST
from convert.model_card import README, Card, Phase, Score, Source, licence_of, refresh_card
from evaluation.commands import read_results
from evaluation.results import Result, compare
from recipes.artifacts import digest, file_digest
from recipes.errors import UserError
from recipes.layout import RunFolder
from recipes.load import read_stated
from recipes.schedule import phase_curve
from recipes.schema import Recipe
from recipes.terminal import console


class _Stated(BaseModel):
    """What a card takes from a file of the run; other fields may be there."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)


class _Blend(_Stated):
    sequence_length: int
    samples: dict[str, int]  # source -> sequences


class _Receipt(_Stated):
    source: str
    domain: str
    language: str
    licence: str


class _Digested(_Stated):
    digest: str


class _Lock(_Stated):
    software: dict[str, str | int | None]


_STATED_ELSEWHERE = {"name", "token_budget", "mixture", "minimum_document_tokens", "schedule"}


def model_card(recipe: Recipe, run: RunFolder, phase: int) -> Card:
    """Base, data and hyper-parameters up to the end of `phase`, without scores.

    Raises:
        UserError: a file of the run is missing or damaged, or the recipe has no such phase.
    """
    if phase > len(recipe.phases):
        raise UserError(
            f"{run.checkpoints(phase)}: recipe {recipe.name} has {len(recipe.phases)} phases; give the recipe that "
            f"it was trained with."
        )
    numbers = range(1, phase + 1)
    tokens = {number: _tokens(run, number) for number in numbers}
    names = dict.fromkeys(name for by_source in tokens.values() for name in by_source)
    sources = [_source(read_stated(_Receipt, run.shards / name / "receipt.json")) for name in names]
    return Card(
        name=f"{recipe.name}, phase {phase} {recipe.phase(phase).name}",
        base_model=recipe.model.hf_id,
        languages=tuple(sorted({source.language for source in sources if len(source.language) < 4})),  # not `code`
        licence=licence_of(Path(str(recipe.model.base))) if recipe.model.init == "hf" else None,
        sources=tuple(sources),
        phases=tuple(
            Phase(f"{number} {recipe.phase(number).name}", tokens[number], _phase_settings(recipe, number))
            for number in numbers
        ),
        settings=_settings(recipe),
        provenance=_provenance(recipe, run, phase),
    )


def refresh_cards(recipe: Recipe, run: RunFolder) -> None:
    """Write the evaluation into the README.md of every exported phase that was scored; says which stay, being edited.

    Raises:
        UserError: a file of the run is missing or damaged, or base and phases were scored on different text.
    """
    if not (run.report / "results").is_dir():
        return
    models, _ = read_results(run.report)
    for number in range(1, len(recipe.phases) + 1):
        folder = run.exported(number)
        if not (folder / MANIFEST).is_file():
            continue
        weights = {path.name: file_digest(path) for path in [folder / "config.json", *folder.glob("*.safetensors")]}
        mine = next((result for result in models[1:] if result.inputs.get("weights") == weights), None)
        if mine is None:
            continue
        card = model_card(recipe, run, number)
        scored = replace(
            card, scores=_scores(models[0], mine, {source.name: source.language for source in card.sources})
        )
        if not refresh_card(folder, scored):
            console().print(f"{folder / README} was edited: it stays as it is.", highlight=False, soft_wrap=True)


def _tokens(run: RunFolder, number: int) -> dict[str, int]:
    """Tokens that a phase reads of each source."""
    blend = read_stated(_Blend, run.phase(number) / "blend.json")
    return {name: samples * blend.sequence_length for name, samples in blend.samples.items()}


def _source(receipt: _Receipt) -> Source:
    return Source(receipt.source, receipt.domain, receipt.language, receipt.licence)


def _phase_settings(recipe: Recipe, number: int) -> dict[str, str]:
    phase, curve = recipe.phase(number), phase_curve(recipe, number)
    rate = f"{curve.kind} {curve.max_lr:g}" + ("" if curve.kind == "constant" else f" → {curve.min_lr:g}")
    if curve.offset:
        rate += f", continued at step {curve.offset:,} of {curve.length:,}"
    fields = phase.model_dump(mode="json", exclude=_STATED_ELSEWHERE, exclude_none=True)
    return {
        "iterations": f"{phase.iterations:,}",
        "learning rate": rate,
        "warm-up iterations": f"{phase.warmup_iterations:,}",
        **{name.replace("_", " "): _text(value) for name, value in fields.items()},
    }


def _settings(recipe: Recipe) -> dict[str, str]:
    optimizer = {name.replace("_", " "): f"{value:g}" for name, value in recipe.optimizer.model_dump().items()}
    return {"optimizer": "Adam", **optimizer, "precision": recipe.precision, "seed": str(recipe.seed)}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _provenance(recipe: Recipe, run: RunFolder, phase: int) -> dict[str, str]:
    """Digests of what the run was planned, locked and started with, as far as it is there."""
    found = {"recipe": digest(recipe.model_dump(mode="json"))}
    stated = {
        "plan": run.plan,
        f"data of phase {phase}": run.phase(phase) / "blend.json",
        "base weights": run.base_checkpoint / MANIFEST,
    }
    found |= {name: read_stated(_Digested, path).digest for name, path in stated.items() if path.is_file()}
    if run.lock.is_file():
        software = read_stated(_Lock, run.lock).software
        found["run lock"] = file_digest(run.lock)
        found["trained with"] = ", ".join(f"{name} {version}" for name, version in software.items() if version)
    return found


def _scores(base: Result, model: Result, languages: Mapping[str, str]) -> tuple[Score, ...]:
    """Every domain, and behind it its sources.

    Raises:
        UserError: the two were scored on different text.
    """
    compare(base, [model])
    scores = []
    for domain in base.domains:
        scores.append(_score(base, model, domain, None, None))
        for source, its_domain in base.source_domains.items():
            if its_domain == domain:
                scores.append(_score(base, model, domain, source, languages.get(source)))
    return tuple(scores)


def _score(base: Result, model: Result, domain: str, source: str | None, language: str | None) -> Score:
    before, after = (each.sources[source] if source else each.domains[domain] for each in (base, model))
    return Score(
        domain=domain,
        source=source,
        language=language,
        perplexity=after.perplexity,
        bits_per_byte=after.bits_per_byte,
        base_perplexity=before.perplexity,
        base_bits_per_byte=before.bits_per_byte,
    )
