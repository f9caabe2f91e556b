"""Tokenize one part of a source, and write it where it belongs in the source's files."""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data_prep.cleaned import CleanedPart
from data_prep.digest import held_out_below, raw_digest
from data_prep.encode import Encoded, Encoder
from data_prep.ingest.changes import Identity
from data_prep.ingest.document import Dropped, RawDocument
from data_prep.ingest.identity import identity, sealed_identity
from data_prep.ingest.part import Part
from data_prep.ingest.read import read_raw
from data_prep.spool import Spool
from data_prep.strict import account
from data_prep.turn import Turn

BATCH_BYTES = 1_000_000  # of text encoded at once, and a document more: it, its copy and its tokens stay in the cache
CHECKED_DOCUMENTS = 32  # per source
CHECKED_CHARACTERS = 4_000  # of each
SPOOLED = 64 << 20  # bytes of a stream that wait for their turn in memory; more wait on disk
LENGTH = np.dtype("<i4")
STREAMS = ("training.bin", "training.lengths", "heldout.bin", "heldout.lengths", "heldout.jsonl")


class Task(NamedTuple):
    """One part of one source."""

    part: Part
    cleaned: CleanedPart | None  # None: the raw part is tokenized as it is
    domain: str
    text_field: str
    heldout_fraction: float
    folder: Path  # where the source's streams are being written
    strict: bool


class Written(NamedTuple):
    """What a part gave."""

    ends: tuple[int, ...]  # bytes of each stream up to and with this part
    dropped: Dropped
    identity: Identity  # of the raw part; empty for a cleaned one


class _Context(NamedTuple):
    encoder: Encoder
    turn: Turn


_context: list[_Context] = []  # set once per process: a Turn cannot travel with a task


def set_up(encoder: Encoder, turn: Turn) -> None:
    """Prepare this process for `tokenize_part` and `cross_check`."""
    _context[:] = [_Context(encoder, turn)]


class Check(NamedTuple):
    """The beginnings of the first documents of a source, and their ids by Hugging Face `tokenizers`."""

    texts: list[str]
    places: list[str]
    reference: list[list[int]]


def make_check(tasks: Sequence[Task], encoder: Encoder) -> Check:
    """What `cross_check` compares. In the parent process, which else would wait for the workers to start."""
    every = chain.from_iterable(_documents(task, Dropped()) for task in tasks)
    documents = [document for document, _ in islice(every, CHECKED_DOCUMENTS)]
    texts = [document.text.decode()[:CHECKED_CHARACTERS] for document in documents]
    return Check(texts, [f"{each.file}:{each.line}" for each in documents], encoder.reference(texts))


def cross_check(check: Check) -> None:
    """Compare the two tokenizers; raises UserError as `Encoder.cross_check` does."""
    _context[0].encoder.cross_check(*check)


def work(job: Task | Check) -> Written | None:
    """What a worker is given to do. Here, because it imports all of this file's module first, and little besides."""
    if isinstance(job, Task):
        return tokenize_part(job)
    cross_check(job)
    return None


def tokenize_part(task: Task) -> Written | None:
    """Write the documents of `task`; None if another part failed, whose error says why."""
    encoder, turn = _context[0]
    try:
        dropped = account(task.part, task.strict)
        before = {} if task.cleaned else identity(task.part)
        with ExitStack() as stack:
            spools = [stack.enter_context(Spool(SPOOLED, task.folder)) for _ in STREAMS]
            for batch in _batches(_documents(task, dropped)):
                _write_batch(batch, task, encoder, spools, dropped)
            sizes = [spool.size for spool in spools]
            offsets = turn.take(task.part.number, sizes)
            if offsets is None:
                return None
            for name, offset, spool in zip(STREAMS, offsets, spools, strict=True):
                spool.place(task.folder / name, offset)
        sealed = {} if task.cleaned else sealed_identity(task.part, before)
    except BaseException:
        turn.fail()
        raise
    return Written(tuple(map(sum, zip(offsets, sizes, strict=True))), dropped, sealed)


def _documents(task: Task, dropped: Dropped) -> Iterator[tuple[RawDocument, bool]]:
    """The documents of a part, each with whether it is held out."""
    if task.cleaned:
        yield from ((document.encoded(), held_out) for document, held_out in task.cleaned.kept())
        return
    below = held_out_below(task.heldout_fraction)
    for document in read_raw(task.part, task.text_field, dropped):
        yield document, below > 0 and raw_digest(document.text) < below


def _batches(documents: Iterable[tuple[RawDocument, bool]]) -> Iterator[tuple[list[RawDocument], list[bool]]]:
    batch: list[RawDocument] = []
    held_out: list[bool] = []
    size = 0
    for document, held in documents:
        batch.append(document)
        held_out.append(held)
        size += len(document.text)
        if size >= BATCH_BYTES:
            yield batch, held_out
            batch, held_out, size = [], [], 0
    if batch:
        yield batch, held_out


def _write_batch(
    batch: tuple[list[RawDocument], list[bool]],
    task: Task,
    encoder: Encoder,
    spools: Sequence[Spool],
    dropped: Dropped,
) -> None:
    documents, held_out = batch[0], np.array(batch[1])
    encoded = encoder.encode([document.text for document in documents])
    whole = np.ones(len(documents), bool)
    whole[encoded.broken] = False
    for number in np.flatnonzero(~whole):
        document = documents[number]
        dropped.add("contains_separator", document.file, document.line, document.text.decode())
    _append(encoded, whole & ~held_out, *spools[:2])
    _append(encoded, whole & held_out, *spools[2:4])
    for number in np.flatnonzero(whole & held_out):
        row = {"text": documents[number].text.decode(), "source": task.part.source, "domain": task.domain}
        spools[4].write(json.dumps(row, ensure_ascii=False).encode() + b"\n")


def _append(encoded: Encoded, chosen: np.ndarray, tokens: Spool, lengths: Spool) -> None:
    if chosen.all():
        tokens.write(encoded.tokens.data)
    else:
        tokens.write(encoded.tokens[np.repeat(chosen, encoded.lengths)].data)
    lengths.write(encoded.lengths[chosen].astype(LENGTH).data)
