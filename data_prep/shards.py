"""Corpus -> shards/<source>/documents.{bin,idx} and heldout/<source>.{jsonl,bin,idx}, each source with a receipt.

The receipt arrives with its folder, in one rename: a source whose receipt matches is whole and is skipped, any other is
made again from its beginning. The same corpus gives the same bytes, however often the work was killed.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import Progress

from data_prep.corpus import Corpus, Source, load_corpus, source_files
from data_prep.encode import Encoder
from data_prep.source_shard import DIGESTS, HELDOUT, write_source
from recipes.artifacts import (
    atomic_file,
    atomic_folder,
    digest,
    file_digest,
    matching_receipt,
    read_json,
    tool_version,
    write_json,
)
from recipes.errors import UserError
from recipes.layout import RunFolder
from recipes.plan import SourceSize

Receipt = dict[str, Any]
RECEIPT = "receipt.json"
HELDOUT_SUFFIXES = (".jsonl", ".bin", ".idx")


def build_shards(corpus_file: Path, encoder: Encoder, run: RunFolder, progress: Progress) -> list[Receipt]:
    """Receipts of all sources in the order of the corpus file; a source without a matching receipt is built.

    Raises:
        UserError: the corpus cannot be read or holds no usable document, or the disk is full.
    """
    corpus = load_corpus(corpus_file)
    files = {source.name: source_files(corpus_file, source) for source in corpus.sources}
    seen: set[int] = set()
    receipts: list[Receipt] = []
    before = ""
    for source in corpus.sources:
        inputs = _inputs(corpus_file, corpus, source, files[source.name], encoder, before)
        before = digest(inputs)
        folder = run.shards / source.name
        receipt = matching_receipt(folder / RECEIPT, inputs)
        digests = _digests(run, receipt) if receipt else None
        if receipt and digests is not None:
            seen.update(digests)
        else:
            receipt = _build_source(corpus, source, files[source.name], inputs, encoder, run, seen, progress)
        receipts.append(receipt)
    if not any(receipt["documents"] for receipt in receipts):
        raise UserError(
            f"corpus file {corpus_file}: it holds no usable document ({_dropped(receipts)}); mend its sources."
        )
    _finish_heldout(corpus, run, receipts)
    return receipts


def shard_sizes(run: RunFolder) -> list[SourceSize]:
    """What the shards of a run hold, in the order of its corpus file; empty before they are all built."""
    return sizes_of(shard_receipts(run))


def sizes_of(receipts: list[Receipt]) -> list[SourceSize]:
    """Training tokens per source."""
    return [SourceSize(receipt["source"], receipt["domain"], receipt["tokens"]) for receipt in receipts]


def _inputs(
    corpus_file: Path, corpus: Corpus, source: Source, files: list[Path], encoder: Encoder, before: str
) -> dict[str, Any]:
    """All that decides a source's bytes; `before` stands for the sources whose documents it may not repeat."""
    return {
        "files": {os.path.relpath(path, corpus_file.parent): _digest_of(path) for path in files},
        "source": source.model_dump(mode="json", exclude={"files"}),
        "heldout_fraction": corpus.heldout_fraction,
        "minimum_characters": corpus.minimum_characters,
        "tokenizer_digest": encoder.digest,
        "separator": encoder.separator,
        "before": before,
        "tool_version": tool_version(),
    }


def _digest_of(path: Path) -> str:
    try:
        return file_digest(path)
    except OSError as error:
        raise UserError(
            f"corpus file {path} cannot be read ({error.strerror}); mend `files` or its permissions."
        ) from error


def _digests(run: RunFolder, receipt: Receipt) -> list[int] | None:
    """The content digests of a source whose files are whole, else None. The .bin is judged by its size."""
    folder = run.shards / receipt["source"]
    heldout = {run.heldout / name: sha for name, sha in receipt["heldout"]["files"].items()}
    try:
        sizes = {name: (folder / name).stat().st_size for name in receipt["files"]}
        whole = sizes.get("documents.bin", 0) == receipt["bytes"]
        whole &= all(file_digest(path) == sha for path, sha in heldout.items())
        return list(np.load(folder / DIGESTS).tolist()) if whole else None
    except (OSError, ValueError):
        return None


def _build_source(
    corpus: Corpus,
    source: Source,
    files: list[Path],
    inputs: dict[str, Any],
    encoder: Encoder,
    run: RunFolder,
    seen: set[int],
    progress: Progress,
) -> Receipt:
    if run.lock.is_file() and matching_receipt(run.shards / source.name / RECEIPT, inputs) is None:
        raise UserError(
            f"{run.root}: this run was trained on other shards of {source.name}; choose another --run folder for this "
            f"corpus and tokenizer."
        )
    task = progress.add_task(f"tokenizing {source.name}", total=sum(path.stat().st_size for path in files))
    with atomic_folder(run.shards / source.name) as folder:
        account = write_source(
            folder, corpus, source, files, encoder, seen, lambda done: progress.update(task, completed=done)
        )
        _publish_heldout(folder / HELDOUT, run.heldout, source.name)
        receipt = {"inputs": inputs, **account}
        write_json(folder / RECEIPT, receipt)
    return receipt


def _publish_heldout(staged: Path, heldout: Path, source: str) -> None:
    """Move the held-out files where evaluation looks for them; the receipt that vouches for them comes after."""
    for suffix in HELDOUT_SUFFIXES:
        target, file = heldout / f"{source}{suffix}", staged / f"{source}{suffix}"
        if file.exists():
            with atomic_file(target) as partial:
                file.replace(partial)
        else:
            target.unlink(missing_ok=True)
    staged.rmdir()


def _finish_heldout(corpus: Corpus, run: RunFolder, receipts: list[Receipt]) -> None:
    """Write heldout/receipt.json, and remove what an earlier corpus or a killed run left there."""
    sources = {receipt["source"]: {"domain": receipt["domain"], **receipt["heldout"]} for receipt in receipts}
    expected = {RECEIPT, *(name for source in sources.values() for name in source["files"])}
    for path in run.heldout.iterdir():
        if path.is_file() and path.name not in expected:
            path.unlink()
    content = {"corpus": corpus.name, "heldout_fraction": corpus.heldout_fraction, "sources": sources}
    if not (run.heldout / RECEIPT).is_file() or read_json(run.heldout / RECEIPT) != content:
        write_json(run.heldout / RECEIPT, content)


def dropped_lines(receipts: list[Receipt]) -> list[str]:
    """One line per source that lost documents: how many, why, and where the first of them was."""
    return [f"{receipt['source']}: dropped {_dropped([receipt])}" for receipt in receipts if receipt["dropped"]]


def shard_receipts(run: RunFolder) -> list[Receipt]:
    """The receipts of a run in the order of its corpus file; empty before its shards are all built."""
    path = run.heldout / RECEIPT
    if not path.is_file():
        return []
    return [read_json(run.shards / name / RECEIPT) for name in read_json(path)["sources"]]


def _dropped(receipts: list[Receipt]) -> str:
    """For example `not_json 3, first at laws.jsonl:7`."""
    found = [
        f"{reason} {count}, first at {receipt['dropped_at'][reason][0]}"
        for receipt in receipts
        for reason, count in receipt["dropped"].items()
    ]
    return "; ".join(found) or "its files are empty"
