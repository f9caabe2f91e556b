"""Which cleaned documents stay: one mask per part, decided over all sources; the first in the corpus's order stays.

Order of the decisions: equal documents, near-duplicates, semantic duplicates, contamination by held-out documents and
evaluation sets. Whether a document is held out depends on its own text alone.
"""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.cleaned import DIGESTS, HELD_OUT, REASONS, TRAINING, rows
from data_prep.corpus import Corpus
from data_prep.decisions import decide
from data_prep.digest import held_out_below
from data_prep.evaluation_sets import evaluation_files
from data_prep.ingest.document import EXAMPLES, Dropped
from data_prep.losses import to_json
from data_prep.search import Mask, Part, Search
from recipes.artifacts import atomic_folder, digest, file_digest, matching_receipt, tool_version, write_json

RECEIPT = "receipt.json"


def mask_file(folder: Path, source: str, number: int) -> Path:
    """Where the mask of a part lies in the selection's folder."""
    return folder / source / f"{number:05d}.npy"


def select(corpus: Corpus, corpus_file: Path, parts: Sequence[Part], folder: Path, workers: int) -> dict[str, Any]:
    """Write one mask per part into `folder`, whole or not at all, unless it is there; returns the receipt."""
    inputs = {**selection_settings(corpus, corpus_file), "documents": _digest_of_all(parts)}
    receipt = matching_receipt(folder / RECEIPT, inputs)
    if receipt and all(mask_file(folder, part.source, part.number).is_file() for part in parts):
        return receipt
    with atomic_folder(folder) as partial:
        scratch = partial / "scratch"
        scratch.mkdir()
        masks = [_undecided(part, corpus.heldout_fraction) for part in parts]
        decided = decide(Search(corpus, corpus_file, parts, masks, scratch, workers))
        shutil.rmtree(scratch)
        for part, mask in zip(parts, masks, strict=True):
            path = mask_file(partial, part.source, part.number)
            path.parent.mkdir(exist_ok=True)
            np.save(path, mask)
        losses = {
            f"{part.source}/{part.number}": to_json(_losses(part, mask))
            for part, mask in zip(parts, masks, strict=True)
        }
        receipt = {"inputs": inputs, "losses": losses, **decided._asdict()}
        write_json(partial / RECEIPT, receipt)
    return receipt


def selection_settings(corpus: Corpus, corpus_file: Path) -> dict[str, Any]:
    """All that decides the masks but the documents: the options, and the files that they name."""
    fields = {"heldout_fraction", "exact_duplicates", "near_duplicates", "semantic_duplicates", "decontaminate"}
    files = evaluation_files(corpus_file, corpus.decontaminate) if corpus.decontaminate else []
    if corpus.semantic_duplicates:
        model = corpus_file.parent / corpus.semantic_duplicates.model
        files += sorted(path for path in model.glob("*") if path.is_file())
    return {
        "settings": corpus.model_dump(mode="json", include=fields),
        "files": {os.path.relpath(path, corpus_file.parent): file_digest(path) for path in files},
        "tool_version": tool_version(),
    }


def _digest_of_all(parts: Sequence[Part]) -> str:
    return digest([[part.source, part.number, file_digest(part.folder / DIGESTS)] for part in parts])


def _undecided(part: Part, heldout_fraction: float) -> Mask:
    """Every document for training, or held out."""
    held_out = np.load(part.folder / DIGESTS) < np.uint64(held_out_below(heldout_fraction))
    return np.where(held_out, np.uint8(HELD_OUT), np.uint8(TRAINING))


def _losses(part: Part, mask: Mask) -> Dropped:
    """The documents of a part that go, by reason."""
    dropped = Dropped()
    for code, reason in REASONS.items():
        gone = np.flatnonzero(mask == code)
        for document in rows(part.folder, gone[:EXAMPLES].tolist()):
            dropped.add(reason, document.file, document.line, document.text)
        if len(gone):
            dropped.counts[reason] = len(gone)
    return dropped
