"""The searches over all documents, one after the other: each marks what it finds in the masks, and shows some pairs."""

from typing import NamedTuple

import numpy as np

from data_prep.cleaned import (
    CONTAMINATED,
    DIGESTS,
    DUPLICATE,
    HELD_OUT,
    NEAR_DUPLICATE,
    REASONS,
    SEMANTIC_DUPLICATE,
    SIGNATURES,
)
from data_prep.contamination import drop_contaminated
from data_prep.dedup import exact, near
from data_prep.dedup.minhash import NearDuplicates
from data_prep.dedup.semantic import SemanticDuplicates, refuse_too_many, semantic_duplicates
from data_prep.search import MEMORY, PAIRS, Search, Shown


class Decided(NamedTuple):
    """What to say of the decisions."""

    shown: dict[str, list[Shown]]  # pairs, by reason
    notes: list[str]


def decide(search: Search) -> Decided:
    """Run the searches that the corpus file asks for."""
    corpus = search.corpus
    shown: dict[str, list[Shown]] = {}
    notes: list[str] = []
    if corpus.exact_duplicates == "drop":
        _equal(search)
    if corpus.near_duplicates:
        shown[REASONS[NEAR_DUPLICATE]] = _alike(search, corpus.near_duplicates, notes)
    if corpus.semantic_duplicates:
        shown[REASONS[SEMANTIC_DUPLICATE]] = _same_meaning(search, corpus.semantic_duplicates)
    if corpus.decontaminate:
        shown[REASONS[CONTAMINATED]] = drop_contaminated(search, corpus.decontaminate)
    return Decided(shown, notes)


def _equal(search: Search) -> None:
    files = [part.folder / DIGESTS for part in search.parts]
    found = exact.duplicates(files, search.scratch / "exact", MEMORY)
    search.mark(DUPLICATE, [np.load(file) for file in found])


def _alike(search: Search, options: NearDuplicates, notes: list[str]) -> list[Shown]:
    files = [part.folder / SIGNATURES for part in search.parts]
    found = near.near_duplicates(files, search.gone(), options, search.scratch / "near", MEMORY, search.workers)
    search.mark(NEAR_DUPLICATE, [np.load(file) for file in found.masks])
    if found.unfinished:
        notes.append(f"{found.unfinished:,} groups of documents that share a MinHash band were not compared in full")
    return [
        search.show((pair.part, pair.row), (pair.kept_part, pair.kept_row), _likeness(pair.jaccard, options))
        for pair in found.pairs[:PAIRS]
    ]


def _likeness(jaccard: float, options: NearDuplicates) -> str:
    by_others = ", alike by way of others of its group" if jaccard < options.jaccard else ""
    return f"Jaccard about {jaccard:.2f}{by_others}"


def _same_meaning(search: Search, options: SemanticDuplicates) -> list[Shown]:
    """Over all sources in one go, or source by source."""
    groups: dict[str, list[int]] = {}
    for number, part in enumerate(search.parts):
        groups.setdefault(part.source if options.within == "source" else "", []).append(number)
    model = str(search.corpus_file.parent / options.model)
    shown: list[Shown] = []
    for parts in groups.values():
        left = sum(int(np.count_nonzero(search.masks[part] <= HELD_OUT)) for part in parts)
        refuse_too_many(left, options)
        places = [(part, int(row)) for part in parts for row in np.flatnonzero(search.masks[part] <= HELD_OUT)]
        texts = (text for part in parts for text in search.texts(part))
        goes, pairs = semantic_duplicates(texts, options.model_copy(update={"model": model}))
        for number in np.flatnonzero(goes):
            part, row = places[number]
            search.masks[part][row] = SEMANTIC_DUPLICATE
        for pair in pairs[: PAIRS - len(shown)]:
            shown.append(search.show(places[pair.document], places[pair.kept], f"cosine {pair.similarity:.2f}"))
    return shown
