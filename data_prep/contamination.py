"""Training documents that share too much with held-out documents or evaluation sets: their n-grams are looked up."""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from data_prep.cleaned import CONTAMINATED, HELD_OUT, TRAINING, read_cleaned
from data_prep.dedup.decontaminate import Decontaminate, Match, Matcher, build_index
from data_prep.evaluation_sets import evaluation_items
from data_prep.ingest.document import EXCERPT
from data_prep.search import MEMORY, PAIRS, Mask, Search, Shown
from data_prep.workers import Pool

_BATCH = 1024  # documents looked up at a time
_NEVER = 1 << 31  # items: no n-gram has so many, so none is boilerplate


class _Task(NamedTuple):
    """A part whose training documents are looked up."""

    number: int
    folder: Path
    mask: Mask


class _Found(NamedTuple):
    """The documents of a part that go."""

    rows: NDArray[np.int64]
    shown: list[tuple[int, str, Match]]  # row, text, why; a few


def drop_contaminated(search: Search, options: Decontaminate) -> list[Shown]:
    """Mark contaminated training documents; returns some of them with what they share."""
    against = [_index(search, options, items) for items in _item_sets(search, options)]
    tasks = [_Task(number, part.folder, search.masks[number]) for number, part in enumerate(search.parts)]
    shown: list[tuple[int, Shown]] = []
    with Pool(max(1, min(search.workers, len(tasks))), _nothing) as pool:
        for task, found in pool.run(partial(_look_up, against), tasks):
            search.masks[task.number][found.rows] = CONTAMINATED
            source = search.parts[task.number].source
            shown += [(task.number, _shown(source, text, match)) for _, text, match in found.shown]
    shown.sort(key=lambda numbered: numbered[0])
    return [each for _, each in shown[:PAIRS]]


def _nothing() -> None:
    """Tasks carry all they need."""


class _Items(NamedTuple):
    """Texts that training documents must not contain."""

    name: str
    options: Decontaminate
    texts: Iterator[tuple[str, str]]  # each with a name


def _item_sets(search: Search, options: Decontaminate) -> Iterator[_Items]:
    """Evaluation items and held-out documents apart: an exam asks many questions about one passage, and what the items
    of an exam share is no boilerplate, nor is what held-out documents share with them."""
    if options.evaluation_sets:
        every = options.model_copy(update={"boilerplate": _NEVER})
        yield _Items("evaluation", every, evaluation_items(search.corpus_file, options))
    if options.heldout:
        yield _Items("heldout", options, _held_out(search))


def _held_out(search: Search) -> Iterator[tuple[str, str]]:
    for number, part in enumerate(search.parts):
        for row, document in enumerate(read_cleaned(part.folder)):
            if search.masks[number][row] == HELD_OUT:
                yield f"held out, {part.source}, {document.file}", document.text


def _index(search: Search, options: Decontaminate, items: _Items) -> tuple[Path, Decontaminate]:
    folder = search.scratch / items.name
    build_index(items.texts, options, folder, MEMORY)
    return folder, items.options


def _look_up(against: Sequence[tuple[Path, Decontaminate]], task: _Task) -> _Found:
    matchers = [Matcher(folder, options) for folder, options in against]
    rows: list[int] = []
    shown: list[tuple[int, str, Match]] = []
    documents = ((row, each.text) for row, each in enumerate(read_cleaned(task.folder)) if task.mask[row] == TRAINING)
    while batch := list(islice(documents, _BATCH)):
        texts = [text for _, text in batch]
        found = zip(*(matcher.contaminated(texts) for matcher in matchers), strict=True)
        for (row, text), matches in zip(batch, found, strict=True):
            if match := next((each for each in matches if each), None):
                rows.append(row)
                shown += [(row, text[:EXCERPT], match)] if len(shown) < PAIRS else []
    return _Found(np.array(rows, np.int64), shown)


def _shown(source: str, text: str, match: Match) -> Shown:
    measure = f"{match.of_item:.0%} of the item's n-grams, {match.of_document:.0%} of the document's"
    kept = {"source": match.item, "file": "", "text": match.example}
    return {"document": {"source": source, "file": "", "text": text}, "kept": kept, "measure": measure}
