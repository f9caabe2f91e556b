"""Training documents that share too much with held-out documents or evaluation sets: their n-grams are looked up."""

from collections.abc import Iterator
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
    index = search.scratch / "ngrams"
    build_index(_items(search, options), options, index, MEMORY)
    tasks = [_Task(number, part.folder, search.masks[number]) for number, part in enumerate(search.parts)]
    shown: list[tuple[int, Shown]] = []
    with Pool(min(search.workers, len(tasks)), _nothing) as pool:
        for task, found in pool.run(partial(_look_up, index, options), tasks):
            search.masks[task.number][found.rows] = CONTAMINATED
            source = search.parts[task.number].source
            shown += [(task.number, _shown(source, text, match)) for _, text, match in found.shown]
    shown.sort(key=lambda numbered: numbered[0])
    return [each for _, each in shown[:PAIRS]]


def _nothing() -> None:
    """Tasks carry all they need."""


def _items(search: Search, options: Decontaminate) -> Iterator[tuple[str, str]]:
    """Name and text of every held-out document and evaluation item."""
    yield from evaluation_items(search.corpus_file, options)
    if options.heldout:
        for number, part in enumerate(search.parts):
            for row, document in enumerate(read_cleaned(part.folder)):
                if search.masks[number][row] == HELD_OUT:
                    yield f"held out, {part.source}, {document.file}", document.text


def _look_up(index: Path, options: Decontaminate, task: _Task) -> _Found:
    matcher = Matcher(index, options)
    rows: list[int] = []
    shown: list[tuple[int, str, Match]] = []
    documents = ((row, each.text) for row, each in enumerate(read_cleaned(task.folder)) if task.mask[row] == TRAINING)
    while batch := list(islice(documents, _BATCH)):
        for (row, text), match in zip(batch, matcher.contaminated([text for _, text in batch]), strict=True):
            if match:
                rows.append(row)
                shown += [(row, text[:EXCERPT], match)] if len(shown) < PAIRS else []
    return _Found(np.array(rows, np.int64), shown)


def _shown(source: str, text: str, match: Match) -> Shown:
    measure = f"{match.of_item:.0%} of the item's n-grams, {match.of_document:.0%} of the document's"
    kept = {"source": match.item, "file": "", "text": match.example}
    return {"document": {"source": source, "file": "", "text": text}, "kept": kept, "measure": measure}
