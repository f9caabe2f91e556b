"""Clean a corpus: the parts of all sources over workers and machines; those that are clean already are left alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.progress import Progress

from data_prep.clean_part import RECEIPT, Task, clean_part
from data_prep.cleaned import DIGESTS, DOCUMENTS, SIGNATURES
from data_prep.cleaning.language import Language
from data_prep.corpus import Corpus, Source
from data_prep.differences import differences
from data_prep.ingest.changes import compare
from data_prep.ingest.part import Part
from data_prep.workers import Pool
from recipes.artifacts import json_form, read_json, tool_version, write_json
from recipes.errors import UserError
from recipes.layout import RunFolder


class Share(NamedTuple):
    """Which of the parts this machine cleans: every `world_size`-th, from `rank`."""

    rank: int = 0
    world_size: int = 1


def cleaned_folder(run: RunFolder, part: Part) -> Path:
    """Where `part` lies when it is clean."""
    return run.clean / part.source / f"{part.number:05d}"


def clean_corpus(
    corpus: Corpus,
    parts: Sequence[Part],
    run: RunFolder,
    workers: int,
    share: Share,
    progress: Progress,
    strict: bool = False,
) -> int:
    """Clean this machine's share of `parts`; returns how many parts are still left to others."""
    sources = {source.name: source for source in corpus.sources}
    missing = [part for part in parts if not _is_clean(run, corpus, sources[part.source], part)]
    mine = set(parts[share.rank :: share.world_size])
    tasks = [_task(run, corpus, sources[part.source], part, strict) for part in missing if part in mine]
    if tasks:
        bar = progress.add_task("cleaning", total=sum(task.part.size for task in tasks))
        with Pool(min(workers, len(tasks)), _nothing) as pool:
            for task, _ in pool.run(clean_part, tasks):
                progress.advance(bar, task.part.size)
    return sum(not _is_clean(run, corpus, sources[part.source], part) for part in missing if part not in mine)


def changed_parts(corpus: Corpus, parts: Sequence[Part], run: RunFolder) -> list[str]:
    """What is not as it was when parts were cleaned that are there, by name."""
    sources = {source.name: source for source in corpus.sources}
    changed: list[str] = []
    for part in parts if corpus.cleans else ():
        try:
            receipt = read_json(cleaned_folder(run, part) / RECEIPT)
        except UserError:
            continue
        if file := compare([receipt["input"]], [part]).changed:
            changed.append(file)
        settings = json_form(cleaning_settings(corpus, sources[part.source]))
        changed += (f"the cleaning of {part.source}: {each}" for each in differences(receipt["settings"], settings))
    return list(dict.fromkeys(changed))


def _nothing() -> None:
    """Cleaning needs no preparation."""


def _task(run: RunFolder, corpus: Corpus, source: Source, part: Part, strict: bool) -> Task:
    steps, near = corpus.steps(source), corpus.near_duplicates
    settings, folder = cleaning_settings(corpus, source), cleaned_folder(run, part)
    return Task(part, source.text_field, source.language, steps, near, settings, folder, strict)


def _is_clean(run: RunFolder, corpus: Corpus, source: Source, part: Part) -> bool:
    """Whether a part was cleaned from the same input in the same way."""
    path = cleaned_folder(run, part) / RECEIPT
    try:
        receipt = read_json(path)
    except UserError:
        return False
    compared = compare([receipt["input"]], [part])
    if compared.changed or receipt["settings"] != json_form(cleaning_settings(corpus, source)):
        return False
    files = [DOCUMENTS, DIGESTS, *([SIGNATURES] if corpus.near_duplicates else [])]
    if not all((path.parent / name).is_file() for name in files):
        return False
    if [receipt["input"]] != compared.identities:
        write_json(path, {**receipt, "input": compared.identities[0]})
    return True


def cleaning_settings(corpus: Corpus, source: Source) -> dict[str, Any]:
    """All that decides how a part is cleaned, but its own bytes."""
    near = corpus.near_duplicates
    return {
        "text_field": source.text_field,
        "language": source.language,
        "steps": [{step.name: step.model_dump(mode="json")} for step in corpus.steps(source)],
        "models": [_state(step.model) for step in corpus.steps(source) if isinstance(step, Language) and step.model],
        "signatures": near and near.model_dump(mode="json", exclude={"jaccard"}),  # they hold for every threshold
        "tool_version": tool_version(),
    }


def _state(path: Path) -> list[int]:
    """Size and time of a model that a step names; another file under that name cleans differently."""
    return [path.stat().st_size, path.stat().st_mtime_ns] if path.is_file() else []
