"""Build one source's shard and its held-out files from its parts, with a receipt that says what came of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from data_prep.clean_corpus import cleaned_folder
from data_prep.cleaned import DIGESTS, CleanedPart
from data_prep.corpus import Source
from data_prep.encode import Encoder
from data_prep.heldout_folder import publish_heldout
from data_prep.ingest.changes import Identity, compare
from data_prep.ingest.document import Dropped
from data_prep.ingest.part import Part
from data_prep.losses import add_up, from_json, merge, merge_cleaning, place
from data_prep.preparation import Preparation
from data_prep.selection import mask_file
from data_prep.shard_receipts import RECEIPT, Receipt, is_whole
from data_prep.tokenize_part import Task, Written
from data_prep.tokenize_source import HELDOUT, Workshop, write_source
from recipes.artifacts import (
    atomic_folder,
    digest,
    file_digest,
    matching_receipt,
    read_json,
    sealed,
    tool_version,
    write_json,
)

NO_STEPS: dict[str, Any] = {"steps": []}


def matching_shard(job: Preparation, source: str, inputs: dict[str, Any]) -> Receipt | None:
    """The receipt of a shard that was made from the same documents and is still whole, else None."""
    receipt = matching_receipt(job.run.shards / source / RECEIPT, inputs)
    same = receipt and compare(receipt["parts"], job.parts[source]).changed is None
    return receipt if receipt and same and is_whole(job.run, receipt) else None


def source_inputs(job: Preparation, source: Source) -> dict[str, Any]:
    """All that decides the bytes of one source's shard."""
    parts = job.parts[source.name]
    if job.corpus.cleans:
        files = [(cleaned_folder(job.run, part) / DIGESTS, _mask(job, part)) for part in parts]
        receipts = [read_json(cleaned_folder(job.run, part) / RECEIPT) for part in parts]
        cleaning = [[receipt["settings"], receipt["losses"]] for receipt in receipts]
        documents: Any = digest([cleaning, [[file_digest(path) for path in pair] for pair in files]])
    else:
        documents = {"raw": job.corpus.heldout_fraction}  # and the parts themselves, see _matching
    return {
        "documents": documents,
        "source": source.model_dump(mode="json", exclude={"files", "cleaning"}),
        "tokenizer_digest": job.encoder.digest,
        "separator": job.encoder.separator,
        "tool_version": tool_version(),
    }


def build_source(
    job: Preparation, source: Source, inputs: dict[str, Any], decided: Receipt, workshop: Workshop
) -> None:
    parts = job.parts[source.name]
    bar = job.progress.add_task(f"tokenizing {source.name}", total=sum(part.size for part in parts))
    with atomic_folder(job.run.shards / source.name) as folder:
        tasks = [_task(job, source, part, folder) for part in parts]
        account, written = write_source(folder, tasks, workshop, lambda part: job.progress.advance(bar, part.size))
        origins = [_origin(job, part, decided, each) for part, each in zip(parts, written, strict=True)]
        receipt = {
            "inputs": inputs,
            **_description(source, job.encoder),
            **account,
            **_losses([origin.dropped for origin in origins]),
            "cleaning": merge_cleaning([(origin.cleaning, origin.dropped.lines) for origin in origins]),
            "parts": [origin.identity for origin in origins],
        }
        publish_heldout(folder / HELDOUT, job.run.heldout, source.name)
        write_json(folder / RECEIPT, sealed(receipt))


class _Origin(NamedTuple):
    """Where the documents of a part come from, and which of them are lost."""

    identity: Identity
    dropped: Dropped
    cleaning: dict[str, Any]  # the account of its steps


def _origin(job: Preparation, part: Part, decided: Receipt, written: Written) -> _Origin:
    if not job.corpus.cleans:
        return _Origin(written.identity, written.dropped, NO_STEPS)
    cleaning = read_json(cleaned_folder(job.run, part) / RECEIPT)
    selecting = decided["losses"][f"{part.source}/{part.number}"]
    dropped = merge(merge(from_json(cleaning["losses"]), from_json(selecting)), written.dropped)
    return _Origin(cleaning["input"], dropped, cleaning["cleaning"])


def _mask(job: Preparation, part: Part) -> Path:
    return mask_file(job.run.selection, part.source, part.number)


def _task(job: Preparation, source: Source, part: Part, folder: Path) -> Task:
    fraction, cleaned = job.corpus.heldout_fraction, None
    if job.corpus.cleans:
        cleaned = CleanedPart(cleaned_folder(job.run, part), _mask(job, part))
    return Task(part, cleaned, source.domain, source.text_field, fraction, folder, job.options.strict)


def _description(source: Source, encoder: Encoder) -> dict[str, Any]:
    return {
        "source": source.name,
        "domain": source.domain,
        "language": source.language,
        "licence": source.licence,
        "dtype": encoder.dtype.name,
        "separator_id": encoder.separator_id,
        "vocab_size": encoder.vocab_size,
        "tokenizer_digest": encoder.digest,
    }


def _losses(dropped: Sequence[Dropped]) -> dict[str, Any]:
    found = add_up(dropped)
    examples = {
        reason: [{"place": place(one), "text": one.excerpt} for one in loss.examples] for reason, loss in found.items()
    }
    return {"dropped": {reason: loss.documents for reason, loss in found.items()}, "examples": examples}
