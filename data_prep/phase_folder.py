"""One phase's folder, phases/<n>/, whole or absent.

<source>.idx, .bin   the documents of a slice, over the shard's .bin: a relative link, because a container may see the
                     run under another path
blend.json           what training reads: the slices as bare prefixes, each exactly one epoch
given/<source>.npy   what the phases up to this one have read of the source
mixture.png          asked and reached
manifest.json        its receipt
"""

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from data_prep.cursor_file import Position, cursor_file, stored_position, write_cursor
from data_prep.differences import listed
from data_prep.indexed import Index, data_file, index_file, read_document, read_index, read_tokens
from data_prep.packing import PADDING, write_packed
from data_prep.phase_changes import phase_changes
from data_prep.phase_table import CutPhase, PhaseTable, phase_table
from data_prep.shard_receipts import sizes_of
from data_prep.slice_index import write_slice_index
from data_prep.slices import Slice, Stream
from data_prep.tokenize_source import PREFIX
from data_prep.workers import available_cores
from recipes.artifacts import (
    atomic_file,
    atomic_folder,
    file_digest,
    is_sealed,
    json_form,
    read_json,
    sealed,
    tool_version,
    write_json,
)
from recipes.errors import UserError
from recipes.layout import RunFolder
from recipes.plan import Plan, PlannedPhase
from recipes.schema import Recipe
from recipes.shares import source_limits

MANIFEST, BLEND, PLOT = "manifest.json", "blend.json", "mixture.png"


class Job(NamedTuple):
    """What all phases of a run share."""

    recipe: Recipe
    run: RunFolder
    plan: Plan
    receipts: dict[str, dict[str, Any]]  # of the shards, by source
    indices: dict[str, Index]  # of the shards, by source
    streams: dict[str, Stream]

    def inputs(self, phase: PlannedPhase, start: Mapping[str, Position]) -> dict[str, Any]:
        """All that decides a phase: its own fields, its sources, and what the phases before it have left of them."""
        fields = {"name", "sequence_length", "samples", "iterations", "global_batch_size", "packing"}
        asked = {"share", "samples", "minimum_document_tokens"}
        limits = source_limits(self.recipe, sizes_of(list(self.receipts.values())))
        return {
            **phase.model_dump(mode="json", include=fields),
            "sources": {name: source.model_dump(mode="json", include=asked) for name, source in phase.sources.items()},
            "start": {name: start[name].digest for name in phase.sources},
            "shards": {name: self.receipts[name]["files"] for name in phase.sources},
            "limits": {name: limits.get(name) for name in phase.sources},
            "max_epochs": self.recipe.max_epochs,
            "seed": self.plan.seed,
            "tokenizer": self.recipe.tokenizer.model_dump(mode="json"),
            "tool_version": tool_version(),
        }


class Finished(NamedTuple):
    """A phase that lies in its folder."""

    table: PhaseTable
    after: dict[str, Position]  # of its sources


class Unfinished(NamedTuple):
    """A phase that is to be built."""

    why: str  # what is not as it was when it was built; empty if it never was


def phase_state(job: Job, phase: PlannedPhase, start: Mapping[str, Position], slices: bool) -> Finished | Unfinished:
    """The phase that was built from the same inputs if it is still whole, else what is not as it was.

    Args:
        start: where its sources stood before it.
        slices: False to look only at what the phases after it need.
    """
    folder = job.run.phase(phase.number)
    try:
        manifest = read_json(folder / MANIFEST)
    except UserError:
        return Unfinished(f"{MANIFEST} is missing or damaged" if folder.is_dir() else "")
    if not is_sealed(manifest):
        return Unfinished(f"{MANIFEST} is missing or damaged")
    inputs = json_form(job.inputs(phase, start))
    if manifest["inputs"] != inputs:
        return Unfinished(f"{listed(phase_changes(manifest['inputs'], inputs))} changed")
    files = {cursor_file(name): entry["sha256"] for name, entry in manifest["after"].items()}
    if slices:  # a .bin, link or packs, only has to be there: `cpt data verify` reads it
        files |= {name: sha for name, sha in manifest["files"].items() if not name.endswith(".bin")}
    if harmed := _harmed(folder, files):
        return Unfinished(f"{listed(harmed)} is missing or damaged")
    after = {
        name: stored_position(folder, name, entry, len(job.streams[name].lengths))
        for name, entry in manifest["after"].items()
    }
    return Finished(PhaseTable(**manifest["table"], skipped=True), after)


def _harmed(folder: Path, files: Mapping[str, str]) -> list[str]:
    """Those of `files` (name -> sha256) that are not as they were written, and missing .bin files beside an .idx."""
    names = [name for name in files if name.endswith(".idx")]
    data = [data_file(Path(name).with_suffix("")).name for name in names]
    missing = [name for name in [*files, *data] if not (folder / name).is_file()]
    if missing:
        return missing
    with ThreadPoolExecutor(available_cores()) as pool:
        found = pool.map(file_digest, [folder / name for name in files])
    return [name for name, sha in zip(files, found, strict=True) if sha != files[name]]


def write_phase(job: Job, phase: PlannedPhase, start: Mapping[str, Position], cut: CutPhase) -> PhaseTable:
    """Write phases/<n>/.

    Raises:
        UserError: training was started with other documents in this phase.
    """
    table = phase_table(phase, cut, job.streams)
    prefixes = [name for name, piece in cut.slices.items() if piece.samples]
    with atomic_folder(job.run.phase(phase.number)) as folder:
        with ThreadPoolExecutor(available_cores()) as pool:
            written = pool.map(lambda name: _write_slice(job, folder, name, cut), prefixes)
            slices = {name: sha for files in written for name, sha in files.items()}
        blend = _blend(job, phase, {name: cut.slices[name] for name in prefixes}, slices)
        _refuse_other_than_trained(job.run, phase.number, blend["digest"])
        write_json(folder / BLEND, blend)
        manifest = {
            "inputs": job.inputs(phase, start),
            "table": table.model_dump(mode="json", exclude={"skipped", "rebuilt"}),
            "files": {**slices, BLEND: file_digest(folder / BLEND)},
            "after": {name: write_cursor(folder, name, cursor) for name, cursor in cut.after.items()},
        }
        write_json(folder / MANIFEST, sealed(manifest))
    return table


def ensure_plot(job: Job, table: PhaseTable) -> None:
    """Draw mixture.png if it is not there."""
    path = job.run.phase(table.number) / PLOT
    if not path.is_file():
        from data_prep.mixture_plot import draw_mixture  # matplotlib: only when something is drawn

        with atomic_file(path) as partial:
            draw_mixture(table, job.recipe.max_epochs, partial)


def phase_documents(run: RunFolder, number: int) -> Iterator[NDArray[np.integer]]:
    """The documents that phase `number` reads, each once however often it is read: integer arrays [tokens].

    Of a packed phase, what every sample holds of them, one after the other.
    """
    folder = run.phase(number)
    for name in read_json(folder / BLEND)["prefixes"]:
        index = read_index(folder / name, whole=False)
        tokens = read_tokens(folder / name, index)
        for at in np.unique(index.pointers, return_index=True)[1]:
            document = read_document(tokens, index, int(at))
            yield document[document != PADDING]


def _write_slice(job: Job, folder: Path, name: str, cut: CutPhase) -> dict[str, str]:
    """sha256 of the files written."""
    shard, index, documents = job.run.shards / name / PREFIX, job.indices[name], cut.slices[name].documents
    if name in cut.packs:
        packed = write_packed(folder / name, read_tokens(shard, index), index, documents, cut.packs[name])
        return {f"{name}.idx": file_digest(index_file(folder / name)), f"{name}.bin": packed}
    data_file(folder / name).symlink_to(os.path.relpath(data_file(shard), folder))
    return {f"{name}.idx": write_slice_index(folder / name, index, documents)}


def _refuse_other_than_trained(run: RunFolder, number: int, blend_digest: str) -> None:
    """A phase that training was started with stays as it is."""
    trained = read_json(run.lock)["data"] if run.lock.is_file() else {}
    if trained.get(str(number), blend_digest) != blend_digest:
        raise UserError(
            f"{run.phase(number)}: this run was trained on another mixture of it; choose another --run folder."
        )


def _blend(job: Job, phase: PlannedPhase, cut: Mapping[str, Slice], slices: dict[str, str]) -> dict[str, Any]:
    receipt = next(iter(job.receipts.values()))
    blend = {
        "prefixes": list(cut),
        "samples": {name: piece.samples for name, piece in cut.items()},
        "sequence_length": phase.sequence_length,
        "global_batch_size": phase.global_batch_size,
        "iterations": phase.iterations,
        "packing": phase.packing,
        "samples_total": sum(piece.samples for piece in cut.values()),
        "seed": job.plan.seed,
        "separator_id": receipt["separator_id"],
        "vocab_size": receipt["vocab_size"],
        "tokenizer": {**job.recipe.tokenizer.model_dump(mode="json"), "digest": receipt["tokenizer_digest"]},
        "slices": slices,
        "shards": {name: job.receipts[name]["files"] for name in cut},
    }
    return sealed(blend)
