"""One phase's folder: its blend, its manifest, and its slices against the shards that they list."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from data_prep.indexed import data_file, index_file
from data_prep.phase_folder import BLEND, MANIFEST
from data_prep.verify.content import Content, Rule
from data_prep.verify.dataset import Dataset, check_dataset
from data_prep.verify.records import Manifest, PhaseBlend, read_record
from data_prep.verify.report import Report
from data_prep.verify.slices import first_stray
from data_prep.verify.source import Source, check_present, warn_of_changes
from recipes.layout import RunFolder

BEST_FIT = "best_fit"  # packed: the .bin files are the phase's own, and -1 fills their sequences


class Phase(NamedTuple):
    """A phase's folder and what it says of itself."""

    folder: Path
    blend: PhaseBlend
    manifest: Manifest | None
    remedy: str


def check_phase(report: Report, folder: Path, source_at: Callable[[Path], Source]) -> list[Content]:
    """Check phases/<n>/; `source_at` gives the folder of a source, checked."""
    remedy = f"build the mixture of phase {folder.name} again"
    blend = read_record(report, folder / BLEND, PhaseBlend, remedy)
    manifest = read_record(report, folder / MANIFEST, Manifest, remedy)
    digests = {folder / name: digest for name, digest in manifest.digests.items()} if manifest else {}
    if manifest:
        warn_of_changes(report, folder / MANIFEST, list(digests))
    for path in digests:
        if path.suffix == ".npy":
            check_present(report, path, remedy)
    rules: dict[Path, Rule] = {}
    if blend:
        phase = Phase(folder, blend, manifest, remedy)
        _check_numbers(report, phase)
        sources = _check_sources(report, phase, source_at)
        for name in blend.prefixes:
            if blend.packing == BEST_FIT:
                rules |= _check_packed(report, phase, name)
            else:
                digests |= _check_slice(report, phase, name, sources.get(name))
    return [Content(path, remedy, digests.get(path), rules.get(path)) for path in {**digests, **rules}]


def _check_numbers(report: Report, phase: Phase) -> None:
    blend, path = phase.blend, phase.folder / BLEND
    needed = blend.iterations * blend.global_batch_size
    if not needed <= blend.samples_total == sum(blend.samples.values()):
        found = f"samples_total is {blend.samples_total}, its prefixes have {sum(blend.samples.values())}"
        report.problem(path, "samples", f"{found}, training reads {needed}", phase.remedy)
    if phase.manifest and str(phase.manifest.table.number) != phase.folder.name:
        found = f"it is the receipt of phase {phase.manifest.table.number}"
        report.problem(phase.folder / MANIFEST, "phase", found, phase.remedy)
    if phase.manifest and not blend.slices.items() <= phase.manifest.files.items():
        report.problem(path, "digest", "its slices are not those of manifest.json", phase.remedy)


def _check_sources(report: Report, phase: Phase, source_at: Callable[[Path], Source]) -> dict[str, Source]:
    """The sources that the phase was cut from, each the one that it was cut from."""
    blend, path = phase.blend, phase.folder / BLEND
    shards = RunFolder(phase.folder.parents[1]).shards
    sources = {name: source_at(shards / name) for name in blend.shards}
    for name, source in sources.items():
        if source.receipt is None:
            continue
        if source.receipt.files != blend.shards[name]:
            report.problem(path, "shards", f"the shard of {name} was built again after it was cut", phase.remedy)
        for field in ("separator_id", "vocab_size"):
            found, expected = getattr(blend, field), getattr(source.receipt, field)
            if found != expected:
                report.problem(path, field, f"it is {found}, the shard of {name} has {expected}", phase.remedy)
    return sources


def _check_packed(report: Report, phase: Phase, name: str) -> dict[Path, Rule]:
    dataset = check_dataset(report, phase.folder / name, phase.remedy, "int32")
    if dataset is None:
        return {}
    lengths, blend = dataset.index.lengths, phase.blend
    if (lengths != blend.sequence_length).any() or len(lengths) != blend.samples.get(name):
        found = f"it lists {len(lengths)} packs of {lengths.min()} to {lengths.max()} tokens"
        said = f"blend.json says {blend.samples.get(name)} of {blend.sequence_length}"
        report.problem(index_file(dataset.prefix), "samples", f"{found}, {said}", phase.remedy)
    return {data_file(dataset.prefix): Rule(dataset, blend.vocab_size, padding=True)}


def _check_slice(report: Report, phase: Phase, name: str, source: Source | None) -> dict[Path, str]:
    """Check one slice; returns the digest of its .bin if that is a copy of the shard's and no link to it."""
    prefix = phase.folder / name
    dtype = source.receipt.dtype if source and source.receipt else None
    dataset = check_dataset(report, prefix, phase.remedy, dtype, whole=False)
    if dataset:
        _check_counts(report, phase, name, dataset)
    if dataset and source and source.dataset:
        stray = first_stray(dataset.index, source.dataset.index)
        if stray is not None:
            found = f"number {stray} is no whole document of {data_file(source.dataset.prefix)}"
            report.problem(index_file(prefix), "slice", found, phase.remedy)
    digests = {file: digest for file, digest in phase.blend.shards.get(name, {}).items() if file.endswith(".bin")}
    if source is None or not digests:
        report.problem(phase.folder / BLEND, "shards", f"it does not say which .bin {name} is of", phase.remedy)
        return {}
    file, digest = digests.popitem()
    copied = _is_copy(report, phase, data_file(prefix), source.folder / file)
    return {data_file(prefix): digest} if copied else {}


def _check_counts(report: Report, phase: Phase, name: str, dataset: Dataset) -> None:
    """Compare a slice with what blend and manifest say of it."""
    path, documents, tokens = index_file(dataset.prefix), len(dataset.index.lengths), dataset.index.tokens
    samples, said = (tokens - 1) // phase.blend.sequence_length, phase.blend.samples.get(name)
    if samples != said:
        found = f"its tokens make {samples} sequences, blend.json says {said}"
        report.problem(path, "samples", found, phase.remedy)
    for row in phase.manifest.table.sources if phase.manifest else ():
        if row.source == name and (row.documents, row.tokens) != (documents, tokens):
            found = f"it lists {documents} documents of {tokens} tokens, "
            found += f"manifest.json says {row.documents} of {row.tokens}"
            report.problem(path, "manifest", found, phase.remedy)


def _is_copy(report: Report, phase: Phase, path: Path, shard: Path) -> bool:
    """Whether the .bin of a slice is a file of its own; it should lead to the shard, which is checked elsewhere."""
    if path.is_symlink():
        if path.resolve() != shard.resolve():
            report.problem(path, "link", f"it leads to {path.readlink()} and not to {shard}", phase.remedy)
        return False
    if not path.is_file():
        report.problem(path, "file", "it is not there", phase.remedy)
        return False
    if shard.is_file() and path.samefile(shard):
        return False
    report.warn(path, "link", f"it is a copy of the shard and no link to {shard}", phase.remedy)
    return True
