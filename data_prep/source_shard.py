"""Write one source: its training documents as a shard, its held-out documents as text and as a shard beside it."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from data_prep.clean import Kept, keep_usable
from data_prep.corpus import Corpus, Source
from data_prep.documents import Dropped, read_documents
from data_prep.encode import Encoder
from data_prep.indexed import ShardWriter, data_file, index_file
from recipes.artifacts import file_digest

PREFIX = "documents"
DIGESTS = "digests.npy"  # uint64, one per document kept, held-out ones included, in reading order
HELDOUT = "heldout"  # folder inside the source's, until it is published
BATCH_CHARACTERS = 8_000_000  # of text in memory at once


class Output(NamedTuple):
    """The open files of one source."""

    training: ShardWriter
    heldout: ShardWriter
    heldout_text: IO[str]


def write_source(
    folder: Path,
    corpus: Corpus,
    source: Source,
    files: Sequence[Path],
    encoder: Encoder,
    seen: set[int],
    on_progress: Callable[[int], None],
) -> dict[str, Any]:
    """Read, clean, encode and write all documents of `source` under `folder`; returns what its receipt says of them.

    `seen` holds the content digests of the sources before and gains this source's. `on_progress` gets the bytes read.
    """
    dropped = Dropped()
    digests: list[int] = []
    (folder / HELDOUT).mkdir()
    heldout = folder / HELDOUT / source.name
    with (
        ShardWriter(folder / PREFIX, encoder.dtype) as training,
        ShardWriter(heldout, encoder.dtype) as heldout_shard,
        heldout.with_name(f"{source.name}.jsonl").open("w", encoding="utf-8") as heldout_text,
    ):
        output = Output(training, heldout_shard, heldout_text)
        done = 0
        for path in files:
            kept = keep_usable(
                read_documents(path, source.text_field, dropped), corpus, encoder.separator, seen, dropped
            )
            for batch in _batches(kept):
                if not digests:
                    encoder.cross_check([document.text for document in batch], [document.place for document in batch])
                _write_batch(batch, source, encoder, output)
                digests += [document.digest for document in batch]
                on_progress(done + batch[-1].consumed)
            done += path.stat().st_size
    np.save(folder / DIGESTS, np.array(digests, np.uint64))
    return _account(folder, source, encoder, output, dropped)


def _batches(documents: Iterable[Kept]) -> Iterator[list[Kept]]:
    batch: list[Kept] = []
    characters = 0
    for document in documents:
        batch.append(document)
        characters += len(document.text)
        if characters >= BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def _write_batch(batch: list[Kept], source: Source, encoder: Encoder, output: Output) -> None:
    tokens, lengths = encoder.encode([document.text for document in batch])
    held_out = np.array([document.held_out for document in batch])
    of_heldout = np.repeat(held_out, lengths)
    output.training.append(tokens[~of_heldout], lengths[~held_out])
    output.heldout.append(tokens[of_heldout], lengths[held_out])
    for document in batch:
        if document.held_out:
            row = {"text": document.text, "source": source.name, "domain": source.domain}
            output.heldout_text.write(json.dumps(row, ensure_ascii=False) + "\n")


def _account(folder: Path, source: Source, encoder: Encoder, output: Output, dropped: Dropped) -> dict[str, Any]:
    """What the receipt says; a shard without documents is removed, because Megatron cannot open one."""
    return {
        "source": source.name,
        "domain": source.domain,
        "language": source.language,
        "licence": source.licence,
        **_shard_account(output.training),
        "dtype": encoder.dtype.name,
        "separator_id": encoder.separator_id,
        "vocab_size": encoder.vocab_size,
        "tokenizer_digest": encoder.digest,
        "heldout": {
            **_shard_account(output.heldout, {f"{source.name}.jsonl": folder / HELDOUT / f"{source.name}.jsonl"}),
        },
        "dropped": dict(sorted(dropped.counts.items())),
        "dropped_at": dict(sorted(dropped.examples.items())),
    }


def _shard_account(shard: ShardWriter, more: dict[str, Path] | None = None) -> dict[str, Any]:
    bin_path, idx_path = data_file(shard.prefix), index_file(shard.prefix)
    documents, tokens, size = len(shard.lengths), int(shard.lengths.sum()), bin_path.stat().st_size
    files = {name: file_digest(path) for name, path in (more or {}).items()}
    if documents:
        files |= {bin_path.name: shard.digest, idx_path.name: file_digest(idx_path)}
    else:
        bin_path.unlink()
        idx_path.unlink()
    return {"documents": documents, "tokens": tokens, "bytes": size, "files": files}
