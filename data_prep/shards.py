"""Corpus -> shards/<source>/documents.{bin,idx} and heldout/<source>.{jsonl,bin,idx}, each source with a receipt.

A corpus that asks for tokens alone goes from its files straight to shards. Any other is cleaned part by part, then
one selection over all sources decides which documents stay. What is finished has a receipt and is not done again; the
same corpus gives the same bytes, however many workers there were and however often the work was killed.
"""

from pathlib import Path
from typing import Any, NamedTuple

from rich.progress import Progress

from data_prep.build_source import build_source, matching_shard, source_inputs
from data_prep.clean_corpus import Share, changed_parts, clean_corpus, cleaned_folder
from data_prep.corpus import load_corpus
from data_prep.differences import listed
from data_prep.encode import Encoder
from data_prep.heldout_folder import finish_heldout, heldout_receipt
from data_prep.ingest.changes import compare
from data_prep.ingest.plan import plan_parts
from data_prep.preparation import DEFAULTS, Options, Preparation
from data_prep.report import write_report
from data_prep.search import Part as CleanedPart
from data_prep.selection import select
from data_prep.settings_changes import settings_changes
from data_prep.shard_receipts import RECEIPT, Receipt, damaged_files, is_whole, losses
from data_prep.strict import refuse_losses
from data_prep.tokenize_part import STREAMS, set_up
from data_prep.tokenize_source import Workshop
from data_prep.turn import Turn
from data_prep.workers import Pool, start_server
from recipes.artifacts import exclusive, json_form, read_json, write_json
from recipes.errors import UserError
from recipes.layout import RunFolder

CORPUS = "corpus.json"  # in shards/: what all of them were made from


class Prepared(NamedTuple):
    """The receipts of all sources in the order of the corpus file; none while other machines are still at it."""

    receipts: list[Receipt]
    parts_left: int = 0  # to be cleaned by other machines
    sources_left: int = 0  # being tokenized by other machines


def prepare(
    corpus_file: Path, encoder: Encoder, run: RunFolder, progress: Progress, options: Options = DEFAULTS
) -> Prepared:
    """Build what is missing of the shards of a corpus, as far as this machine's share goes.

    Raises:
        UserError: the corpus cannot be read or holds no usable document, the disk is full, a run was trained on other
            shards, or, if strict, a document cannot be read.
    """
    corpus = load_corpus(corpus_file)
    parts = {source.name: plan_parts(corpus_file, source) for source in corpus.sources}
    job = Preparation(corpus_file, corpus, parts, encoder, run, progress, options)
    receipts = _finished(job)
    if receipts is None:
        _judge_change(job)
        if job.workers > 1:
            start_server(encoder.file)
        if corpus.cleans:
            with exclusive(run.root / f".cleaning-{options.share.rank}-of-{options.share.world_size}"):
                left = clean_corpus(corpus, job.all_parts, run, job.workers, options.share, progress, options.strict)
            if left:
                return Prepared([], left)
        prepared = _tokenize(job)
    else:
        prepared = Prepared(receipts)
    if options.strict:
        refuse_losses(prepared.receipts)
    return prepared


def build_shards(
    corpus_file: Path, encoder: Encoder, run: RunFolder, progress: Progress, options: Options = DEFAULTS
) -> list[Receipt]:
    """The receipts of all sources, built here where they are missing; raises as `prepare`.

    Raises:
        UserError: also if another machine is at some of them.
    """
    prepared = prepare(corpus_file, encoder, run, progress, options._replace(share=Share()))
    if prepared.sources_left:
        raise UserError(f"{run.root}: another process is tokenizing {prepared.sources_left} sources; wait for its end.")
    return prepared.receipts


def _finished(job: Preparation) -> list[Receipt] | None:
    """The receipts of shards that were built from the same corpus and are still whole, else None."""
    path = job.run.shards / CORPUS
    try:
        stored = read_json(path)
        receipts = [read_json(job.run.shards / name / RECEIPT) for name in job.parts]
        heldout = read_json(job.run.heldout / RECEIPT)
    except UserError:
        return None
    compared = compare(stored["parts"], job.all_parts)
    same = stored["settings"] == json_form(job.settings()) and compared.changed is None
    same &= stored["receipts"] == _digests(receipts)
    if not same or not all(is_whole(job.run, receipt) for receipt in receipts):
        return None
    if heldout != json_form(heldout_receipt(job.corpus, receipts)):
        return None
    if stored["parts"] != compared.identities:
        write_json(path, {**stored, "parts": compared.identities})
    return receipts


def _stored(job: Preparation) -> dict[str, Any]:
    """What corpus.json says, or nothing."""
    try:
        return dict(read_json(job.run.shards / CORPUS))
    except UserError:
        return {}


def _digests(receipts: list[Receipt]) -> dict[str, str]:
    """By these corpus.json knows the shards that it speaks of from those of another corpus that was begun later."""
    return {receipt["source"]: receipt["digest"] for receipt in receipts}


def _judge_change(job: Preparation) -> None:
    """Name what makes shards or cleaned parts be built again; refuse it in a run that was trained on them.

    What was only damaged is made again in a trained run too, to the same bytes.
    """
    if stored := _stored(job):
        file = compare(stored["parts"], job.all_parts).changed
        changed = [*([file] if file else []), *settings_changes(stored["settings"], json_form(job.settings()))]
    else:
        changed = changed_parts(job.corpus, job.all_parts, job.run)
    if changed and job.run.lock.is_file():
        raise UserError(
            f"{job.run.root}: this run was trained on other shards ({listed(changed)} changed); choose another --run "
            f"folder for this corpus and tokenizer."
        )
    why = f"{listed(changed)} changed" if changed else f"{_damaged(job)} is missing or damaged" if stored else ""
    if why:
        job.progress.console.print(f"{why}: what depends on it is built again", highlight=False, soft_wrap=True)


def _damaged(job: Preparation) -> Path:
    """The first file of finished shards that is not as it was."""
    receipts = []
    for name in job.parts:
        path = job.run.shards / name / RECEIPT
        try:
            receipts.append(read_json(path))
        except UserError:
            return path
        if damaged := damaged_files(job.run, receipts[-1]):
            return damaged[0]
    same = _stored(job)["receipts"] == _digests(receipts)
    return job.run.heldout / RECEIPT if same else job.run.shards / CORPUS


def _tokenize(job: Preparation) -> Prepared:
    """Select, tokenize the sources that no other machine is at, and if that was the last, say that all is there."""
    decided: Receipt = {}
    if job.corpus.cleans:
        with exclusive(job.run.root / ".selecting"):  # of machines that find everything clean at once, one selects
            decided = _select(job)
    inputs = {source.name: source_inputs(job, source) for source in job.corpus.sources}
    receipts = {name: matching_shard(job, name, found) for name, found in inputs.items()}
    missing = [source for source in job.corpus.sources if not receipts[source.name]]
    if missing:
        turn = Turn(len(STREAMS))
        with Pool(job.workers, set_up, job.encoder, turn) as pool:
            workshop = Workshop(job.encoder, pool, turn)
            for source in missing:
                with exclusive(job.run.shards / f".{source.name}.lock", wait=False) as mine:
                    if mine and not matching_shard(job, source.name, inputs[source.name]):
                        build_source(job, source, inputs[source.name], decided, workshop)
    receipts |= {source.name: matching_shard(job, source.name, inputs[source.name]) for source in missing}
    built = [receipt for receipt in receipts.values() if receipt]
    if len(built) == len(receipts):
        with exclusive(job.run.root / ".finishing"):
            _finish(job, built, decided)
        return Prepared(built)
    return Prepared([], sources_left=len(receipts) - len(built))


def _finish(job: Preparation, receipts: list[Receipt], decided: Receipt) -> None:
    """All sources are there: refuse a corpus of nothing, and write what speaks of all of them."""
    if not any(receipt["documents"] for receipt in receipts):
        raise UserError(
            f"corpus file {job.corpus_file}: it holds no usable document ({losses(receipts)}); mend its sources."
        )
    finish_heldout(job.corpus, job.run, receipts)
    if decided or any(receipt["dropped"] for receipt in receipts):
        write_report(job.corpus.name, receipts, decided, job.run.data_report)
    else:
        job.run.data_report.unlink(missing_ok=True)  # nothing was lost
    parts = [identity for receipt in receipts for identity in receipt["parts"]]
    write_json(job.run.shards / CORPUS, {"settings": job.settings(), "parts": parts, "receipts": _digests(receipts)})


def _select(job: Preparation) -> Receipt:
    parts = [CleanedPart(part.source, part.number, cleaned_folder(job.run, part)) for part in job.all_parts]
    return select(job.corpus, job.corpus_file, parts, job.run.selection, job.workers)
