"""Recipe + corpus -> shards where they are missing, plan.json, and the mixture of each phase."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.progress import Progress

from data_prep.bundled import tokenizer_folder
from data_prep.corpus import load_corpus
from data_prep.cursor_file import Position, beginning, position_of
from data_prep.encode import Encoder
from data_prep.packed_slices import pack_slice
from data_prep.phase_folder import Finished, Job, ensure_plot, phase_state, write_phase
from data_prep.phase_table import CutPhase, PhaseTable
from data_prep.preparation import DEFAULTS, Options
from data_prep.shard_receipts import Receipt, dropped_lines
from data_prep.shards import build_shards
from data_prep.slices import Cursor, Wanted, cut_phase
from data_prep.streams import open_streams, read_indices, sizes_of_streams
from recipes.artifacts import digest, write_json_if_changed
from recipes.errors import UserError
from recipes.layout import RunFolder
from recipes.plan import PlannedPhase, SourceSize, make_plan
from recipes.schema import Recipe
from recipes.shares import source_limits, source_shares


def build(
    recipe: Recipe,
    corpus_file: Path,
    run: RunFolder,
    phases: Sequence[int] | None = None,
    progress: Progress | None = None,
    options: Options = DEFAULTS,
) -> list[PhaseTable]:
    """Build what is missing of the shards and of the mixtures of `phases` (numbers from 1; None: all of them).

    Raises:
        UserError: the corpus cannot be read or cannot fill a phase, or the disk is full; nothing is left half-written.
    """
    progress = progress or Progress(disable=True)
    _check_mixtures(recipe, corpus_file)
    encoder = Encoder(tokenizer_folder(recipe.tokenizer.path, run.root / "tokenizer"), recipe.tokenizer.separator)
    receipts = build_shards(corpus_file, encoder, run, progress, options)
    _check_vocabulary(recipe, receipts[0])
    _check_sources(recipe, receipts)
    return mix(recipe, receipts, run, phases, progress)


def mix(
    recipe: Recipe, receipts: Sequence[Receipt], run: RunFolder, phases: Sequence[int] | None, progress: Progress
) -> list[PhaseTable]:
    """plan.json and the mixtures of `phases` from the shards of `run`.

    A phase depends on its own fields and on what the phases before it have left of its sources. So one that is there is
    left alone, and a phase that was changed is made again alone, unless documents that it gave up or took over belong
    to a phase after it: then that one is made again too, because no document may be read twice.

    Raises:
        UserError: the shards cannot fill a phase, training was started with another mixture, or the disk is full.
    """
    indices = read_indices(receipts, run)
    streams = open_streams(recipe, receipts, indices)
    plan = make_plan(recipe, sizes_of_streams(recipe, streams))
    job = Job(recipe, run, plan, {receipt["source"]: receipt for receipt in receipts}, indices, streams)
    wanted = sorted(phases or range(1, len(plan.phases) + 1))
    at = {name: beginning(stream) for name, stream in streams.items()}
    tables = []
    for phase in plan.phases[: max(wanted)]:
        table, after = _reach(job, phase, at, phase.number in wanted, progress)
        at |= after
        if table:
            ensure_plot(job, table)
            tables.append(table)
    _write_plan(job)
    return tables


def _reach(
    job: Job, phase: PlannedPhase, start: dict[str, Position], wanted: bool, progress: Progress
) -> tuple[PhaseTable | None, dict[str, Position]]:
    """The table of a phase, and where its sources stand after it. A phase that is not wanted is not written."""
    state = phase_state(job, phase, start, slices=wanted)
    if isinstance(state, Finished):
        return state.table if wanted else None, state.after
    task = progress.add_task(f"choosing the documents of phase {phase.number}", total=None)
    cut = _cut(job, phase, {name: start[name].load() for name in phase.sources})
    table = write_phase(job, phase, start, cut).model_copy(update={"rebuilt": state.why}) if wanted else None
    progress.remove_task(task)
    return table, {name: position_of(cursor) for name, cursor in cut.after.items()}


def _cut(job: Job, phase: PlannedPhase, start: dict[str, Cursor]) -> CutPhase:
    wanted = {name: Wanted(asked.samples, asked.minimum_document_tokens) for name, asked in phase.sources.items()}
    slices, after = cut_phase(job.streams, start, wanted, phase.sequence_length)
    found = sum(piece.samples for piece in slices.values())
    if found < phase.samples:
        raise UserError(
            f"recipe {job.recipe.name}, field `phases.{phase.number}.token_budget`: phase {phase.name} finds "
            f"{found:,} of {phase.samples:,} sequences, then its documents have been read {job.recipe.max_epochs:g} "
            f"times; it can have at most {found * phase.sequence_length:,} tokens, or raise max_epochs."
        )
    if phase.packing == "concatenate":
        return CutPhase(slices, after, {})
    packed = {
        name: pack_slice(job.streams[name], start[name], piece, phase.sequence_length)
        for name, piece in slices.items()
        if piece.samples
    }
    return CutPhase(
        slices | {name: piece for name, (piece, _, _) in packed.items()},
        after | {name: cursor for name, (_, cursor, _) in packed.items()},
        {name: packs for name, (_, _, packs) in packed.items()},
    )


def _check_mixtures(recipe: Recipe, corpus_file: Path) -> None:
    """Names that the corpus does not have are refused before anything is tokenized."""
    sizes = [SourceSize(source.name, source.domain, 1) for source in load_corpus(corpus_file).sources]
    source_limits(recipe, sizes)
    for number in range(1, len(recipe.phases) + 1):
        source_shares(recipe, number, sizes)


def _check_sources(recipe: Recipe, receipts: list[dict[str, Any]]) -> None:
    """A source or domain that a mixture names must have kept something."""
    for key in dict.fromkeys(key for phase in recipe.phases for key in phase.mixture):
        named = [receipt for receipt in receipts if key in (receipt["source"], receipt["domain"])]
        if not any(receipt["documents"] for receipt in named):
            lost = "; ".join(dropped_lines(named)) or f"{key}: its files are empty"
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
    write_json_if_changed(job.run.plan, {"digest": digest(content), **content})
