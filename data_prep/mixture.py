"""Recipe + corpus -> shards where they are missing, plan.json, and the mixture of each phase."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.progress import Progress

from data_prep.bundled import tokenizer_folder
from data_prep.corpus import load_corpus
from data_prep.encode import Encoder
from data_prep.indexed import Index, read_index
from data_prep.phase_folder import Job, PhaseTable, finished_phase, write_phase
from data_prep.shards import build_shards, dropped_lines, sizes_of
from data_prep.slices import Slice, Stream, cut_phase
from data_prep.source_shard import PREFIX
from recipes.artifacts import digest, read_json, write_json
from recipes.errors import UserError
from recipes.layout import RunFolder
from recipes.plan import PlannedPhase, SourceSize, make_plan, source_limits, source_shares
from recipes.schema import Recipe


def build(
    recipe: Recipe,
    corpus_file: Path,
    run: RunFolder,
    phases: Sequence[int] | None = None,
    progress: Progress | None = None,
) -> list[PhaseTable]:
    """Build what is missing of the shards and of the mixtures of `phases` (numbers from 1; None: all of them).

    Raises:
        UserError: the corpus cannot be read or cannot fill a phase, or the disk is full; nothing is left half-written.
    """
    _check_mixtures(recipe, corpus_file)
    encoder = Encoder(tokenizer_folder(recipe.tokenizer.path, run.root / "tokenizer"), recipe.tokenizer.separator)
    receipts = build_shards(corpus_file, encoder, run, progress or Progress(disable=True))
    _check_vocabulary(recipe, receipts[0])
    _check_sources(recipe, receipts)
    indices = {
        receipt["source"]: read_index(run.shards / receipt["source"] / PREFIX)
        for receipt in receipts
        if receipt["documents"]
    }
    streams = _streams(recipe, receipts, indices)
    sizes = [SourceSize(name, stream.domain, stream.tokens()) for name, stream in streams.items()]
    plan = make_plan(recipe, sizes)
    job = Job(
        recipe, run, plan, {receipt["source"]: receipt for receipt in receipts}, {s.name: s.tokens for s in sizes}
    )
    wanted = sorted(phases or range(1, len(plan.phases) + 1))
    tables = {number: table for number in wanted if (table := finished_phase(job, number))}
    if len(tables) < len(wanted):
        for cut in _curriculum(job, streams, max(wanted)):
            if cut.phase.number in wanted and cut.phase.number not in tables:
                _refuse_trained(run, cut.phase.number)
                tables[cut.phase.number] = write_phase(job, cut.phase, cut.slices, indices, cut.given)
    _write_plan(job)
    return [tables[number] for number in wanted]


class CutPhase(NamedTuple):
    """A phase with its documents chosen."""

    phase: PlannedPhase
    slices: dict[str, Slice]
    given: dict[str, int]  # tokens listed of each source up to and including this phase


def _streams(recipe: Recipe, receipts: list[dict[str, Any]], indices: dict[str, Index]) -> dict[str, Stream]:
    """Every source that has documents, as the curriculum reads it."""
    limits = source_limits(recipe, sizes_of(receipts))
    domains = {receipt["source"]: receipt["domain"] for receipt in receipts}
    return {
        name: Stream(name, domains[name], index.lengths, recipe.seed, limits.get(name))
        for name, index in indices.items()
    }


def _curriculum(job: Job, streams: dict[str, Stream], last: int) -> Iterator[CutPhase]:
    """Cut the phases 1 to `last` in order: a phase takes up each source where the one before left it."""
    cursors = {name: stream.start() for name, stream in streams.items()}
    given = dict.fromkeys(job.receipts, 0)
    for phase in job.plan.phases[:last]:
        asked = {name: source.samples for name, source in phase.sources.items() if source.samples}
        slices, cursors = cut_phase(streams, cursors, asked, phase.sequence_length)
        for name, piece in slices.items():
            given[name] += piece.tokens
        yield CutPhase(phase, slices, dict(given))


def _refuse_trained(run: RunFolder, number: int) -> None:
    """A phase that training was started with stays as it is."""
    if run.lock.is_file() and str(number) in read_json(run.lock)["data"]:
        raise UserError(
            f"{run.phase(number)}: this run was trained on another mixture of it; choose another --run folder."
        )


def _check_mixtures(recipe: Recipe, corpus_file: Path) -> None:
    """Names that the corpus does not have are refused before anything is tokenized."""
    sizes = [SourceSize(source.name, source.domain, 1) for source in load_corpus(corpus_file).sources]
    source_limits(recipe, sizes)
    for number in range(1, len(recipe.phases) + 1):
        source_shares(recipe, number, sizes)


def _check_sources(recipe: Recipe, receipts: list[dict[str, Any]]) -> None:
    """A source that a mixture names must have kept something."""
    for receipt in receipts:
        named = any({receipt["source"], receipt["domain"]} & phase.mixture.keys() for phase in recipe.phases)
        if named and not receipt["documents"]:
            lost = "; ".join(dropped_lines([receipt])) or f"{receipt['source']}: its files are empty"
            raise UserError(f"no document of a source is left to train on ({lost}); mend its files or its text_field.")


def _check_vocabulary(recipe: Recipe, receipt: dict[str, Any]) -> None:
    if receipt["vocab_size"] > recipe.model.shape.vocab_size:
        raise UserError(
            f"recipe {recipe.name}, field `model.shape.vocab_size`: tokenizer {recipe.tokenizer.path} has "
            f"{receipt['vocab_size']} ids, the model {recipe.model.shape.vocab_size}; use the model's own tokenizer."
        )


def _write_plan(job: Job) -> None:
    shards = {name: receipt["files"] for name, receipt in job.receipts.items()}
    content = {**job.plan.model_dump(mode="json"), "shards": shards}
    content = {"digest": digest(content), **content}
    if not job.run.plan.is_file() or read_json(job.run.plan) != content:
        write_json(job.run.plan, content)
