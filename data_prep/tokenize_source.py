"""One source as a shard: its parts tokenized over the workers into one .bin, its held-out documents beside it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from data_prep.encode import Encoder
from data_prep.following_digest import FollowingDigest
from data_prep.indexed import data_file, index_file, write_shard_index
from data_prep.ingest.part import Part
from data_prep.shard_receipts import PREFIX
from data_prep.tokenize_part import LENGTH, STREAMS, Check, Task, Written, make_check, work
from data_prep.turn import Turn
from data_prep.workers import Pool
from recipes.artifacts import file_digest

HELDOUT = "heldout"  # folder inside the source's, until it is published


class Workshop(NamedTuple):
    """What all sources share: the tokenizer, the processes that were set up with it, and their order of writing."""

    encoder: Encoder
    pool: Pool
    turn: Turn


def write_source(
    folder: Path, tasks: Sequence[Task], workshop: Workshop, on_part: Callable[[Part], None]
) -> tuple[dict[str, Any], list[Written]]:
    """Write the shard and the held-out files of a source under `folder`.

    Returns:
        What its receipt says of them, and what each part gave.

    Raises:
        UserError: the two tokenizers disagree on a document.
    """
    for name in STREAMS:
        (folder / name).touch()
    written, digest = _tokenize(folder, tasks, workshop, on_part)
    name = tasks[0].part.source
    (folder / HELDOUT).mkdir()
    text = (folder / STREAMS[4]).replace(folder / HELDOUT / f"{name}.jsonl")
    training = _finish(folder, STREAMS[:2], folder / PREFIX, workshop.encoder.dtype, digest)
    heldout = _finish(folder, STREAMS[2:4], folder / HELDOUT / name, workshop.encoder.dtype, None)
    heldout["files"][text.name] = file_digest(text)
    return {**training, "heldout": heldout}, [written[number] for number in range(len(tasks))]


def _tokenize(
    folder: Path, tasks: Sequence[Task], workshop: Workshop, on_part: Callable[[Part], None]
) -> tuple[dict[int, Written], str]:
    """All parts written; and the sha256 of the training tokens, computed behind the workers."""
    workshop.turn.reset()
    digest = FollowingDigest(folder / STREAMS[0])
    written: dict[int, Written] = {}
    whole = 0  # parts from the first on of which none is missing
    jobs: list[Task | Check] = [make_check(tasks, workshop.encoder), *tasks]
    for job, result in workshop.pool.run(work, jobs):
        if isinstance(job, Check) or result is None:
            continue
        written[job.part.number] = result
        while whole in written:
            digest.advance(written[whole].ends[0])
            whole += 1
        on_part(job.part)
    return written, digest.finish()


def _finish(folder: Path, streams: Sequence[str], prefix: Path, dtype: np.dtype, digest: str | None) -> dict[str, Any]:
    """Give the tokens their name and index; a shard without documents is removed, because Megatron cannot open one."""
    tokens, lengths = (folder / name for name in streams)
    size, documents = tokens.stat().st_size, lengths.stat().st_size // LENGTH.itemsize
    files = {}
    if documents:
        tokens.replace(data_file(prefix))
        index_digest = write_shard_index(prefix, dtype, np.memmap(lengths, LENGTH, "r"))
        files = {data_file(prefix).name: digest or file_digest(data_file(prefix))}
        files[index_file(prefix).name] = index_digest
    else:
        tokens.unlink()
    lengths.unlink()
    return {"documents": documents, "tokens": size // dtype.itemsize, "bytes": size, "files": files}
