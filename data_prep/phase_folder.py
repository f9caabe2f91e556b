"""One phase's folder: phases/<n>/<source>.{idx,bin}, blend.json for training, manifest.json as its receipt.

An .idx lists the documents of a slice over the shard's .bin; the .bin beside it is a relative link, because a container
may see the run under another path. Training reads the slices as bare prefixes: each is exactly one epoch.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from data_prep.indexed import Index, data_file, index_file, read_document, read_index, read_tokens, write_index
from data_prep.slices import Slice
from data_prep.source_shard import PREFIX
from recipes.artifacts import atomic_folder, digest, file_digest, matching_receipt, read_json, tool_version, write_json
from recipes.layout import RunFolder
from recipes.plan import Plan, PlannedPhase
from recipes.schema import Recipe, Strict

MANIFEST = "manifest.json"


class SourceRow(Strict):
    """What one source gives to one phase."""

    source: str
    domain: str
    documents: int
    tokens: int  # listed in the slice
    samples_asked: int
    samples: int
    share_asked: float  # of the phase's samples
    share_reached: float
    epochs: float  # times the source is read in this phase
    epochs_so_far: float  # and up to the end of it


class PhaseTable(Strict):
    """The mixture of one phase as it was built."""

    number: int
    name: str
    sequence_length: int
    iterations: int
    samples: int
    tokens: int  # samples × sequence_length
    sources: list[SourceRow]
    skipped: bool = False  # it was there already


class Job(NamedTuple):
    """What all phases of a run share."""

    recipe: Recipe
    run: RunFolder
    plan: Plan
    receipts: dict[str, dict[str, Any]]  # of the shards, by source
    sizes: dict[str, int]  # tokens of one epoch, by source

    def inputs(self, number: int) -> dict[str, Any]:
        """All that decides the documents of phase `number`: the phases up to it, not those after."""
        fields = {"sequence_length", "samples", "iterations", "global_batch_size", "sources"}
        return {
            "phases": [phase.model_dump(mode="json", include=fields) for phase in self.plan.phases[:number]],
            "seed": self.plan.seed,
            "limit_tokens": self.recipe.limit_tokens,
            "shards": {name: receipt["files"] for name, receipt in self.receipts.items()},
            "tokenizer": self.recipe.tokenizer.model_dump(mode="json"),
            "tool_version": tool_version(),
        }


def finished_phase(job: Job, number: int) -> PhaseTable | None:
    """The table of a phase that was built from the same inputs and is still whole, else None."""
    folder = job.run.phase(number)
    manifest = matching_receipt(folder / MANIFEST, job.inputs(number))
    if manifest is None:
        return None
    files = {folder / name: sha for name, sha in manifest["files"].items()}
    if not all(path.is_file() and file_digest(path) == sha for path, sha in files.items()):
        return None
    links = [path.with_suffix(".bin") for path in files if path.suffix == ".idx"]
    return PhaseTable(**manifest["table"], skipped=True) if all(link.is_file() for link in links) else None


def write_phase(
    job: Job, phase: PlannedPhase, cut: Mapping[str, Slice], indices: Mapping[str, Index], given: Mapping[str, int]
) -> PhaseTable:
    """Write phases/<n>/ whole or not at all. `given`: tokens listed of each source up to and including this phase."""
    table = _table(job, phase, cut, given)
    prefixes = [name for name, piece in cut.items() if piece.samples]
    with atomic_folder(job.run.phase(phase.number)) as folder:
        for name in prefixes:
            _write_slice(folder / name, job.run.shards / name / PREFIX, indices[name], cut[name])
        slices = {f"{name}.idx": file_digest(folder / f"{name}.idx") for name in prefixes}
        write_json(folder / "blend.json", _blend(job, phase, {name: cut[name] for name in prefixes}, slices))
        manifest = {
            "inputs": job.inputs(phase.number),
            "table": table.model_dump(mode="json", exclude={"skipped"}),
            "files": {**slices, "blend.json": file_digest(folder / "blend.json")},
        }
        write_json(folder / MANIFEST, manifest)
    return table


def phase_documents(run: RunFolder, number: int) -> Iterator[NDArray[np.integer]]:
    """The documents that phase `number` reads, each once however often it is read: integer arrays [tokens]."""
    folder = run.phase(number)
    for name in read_json(folder / "blend.json")["prefixes"]:
        index = read_index(folder / name, whole=False)
        tokens = read_tokens(folder / name, index)
        for document in np.unique(index.pointers, return_index=True)[1]:
            yield read_document(tokens, index, int(document))


def _write_slice(prefix: Path, shard: Path, index: Index, piece: Slice) -> None:
    write_index(prefix, index.dtype, index.lengths[piece.documents], index.pointers[piece.documents])
    data_file(prefix).symlink_to(os.path.relpath(data_file(shard), index_file(prefix).parent))


def _blend(job: Job, phase: PlannedPhase, cut: Mapping[str, Slice], slices: dict[str, str]) -> dict[str, Any]:
    receipt = next(iter(job.receipts.values()))
    blend = {
        "prefixes": list(cut),
        "samples": {name: piece.samples for name, piece in cut.items()},
        "sequence_length": phase.sequence_length,
        "global_batch_size": phase.global_batch_size,
        "iterations": phase.iterations,
        "samples_total": sum(piece.samples for piece in cut.values()),
        "seed": job.plan.seed,
        "separator_id": receipt["separator_id"],
        "vocab_size": receipt["vocab_size"],
        "tokenizer": {**job.recipe.tokenizer.model_dump(mode="json"), "digest": receipt["tokenizer_digest"]},
        "slices": slices,
        "shards": {name: job.receipts[name]["files"] for name in cut},
    }
    return {**blend, "digest": digest(blend)}


def _table(job: Job, phase: PlannedPhase, cut: Mapping[str, Slice], given: Mapping[str, int]) -> PhaseTable:
    rows = []
    for name, planned in phase.sources.items():
        receipt = job.receipts[name]
        piece = cut.get(name)
        rows.append(
            SourceRow(
                source=name,
                domain=receipt["domain"],
                documents=len(piece.documents) if piece else 0,
                tokens=piece.tokens if piece else 0,
                samples_asked=planned.samples,
                samples=piece.samples if piece else 0,
                share_asked=planned.share,
                share_reached=(piece.samples if piece else 0) / phase.samples,
                epochs=(piece.tokens if piece else 0) / job.sizes[name],
                epochs_so_far=given[name] / job.sizes[name],
            )
        )
    return PhaseTable(
        number=phase.number,
        name=phase.name,
        sequence_length=phase.sequence_length,
        iterations=phase.iterations,
        samples=phase.samples,
        tokens=phase.tokens,
        sources=rows,
    )
