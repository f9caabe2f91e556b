"""Near-duplicates over all parts: links between documents that are alike, joined to groups of which the first stays.

What is found is a function of the signatures and their order alone: the division into files and buckets, the number of
workers and the memory do not enter. Of any two documents that share a band and whose estimate reaches the threshold at
most one stays (data_prep.dedup.links says how, and the bound).

Scratch on disk, bytes per document: 16 x bands for the records, whose place the links take over (one per record at
most), and 4 for the components (8 from 2**32 documents on). At the defaults (21 bands) that is 340, beside the
256 of the signatures: 85 GB and 64 GB for 250 million documents. While a worker links a bucket, its records and its
links are both there: `memory` / 8 more per worker. A worker stays within `memory`, and the pages of one part's
signatures that it has mapped, as long as no band is shared by more than `memory` / 64 documents (33 million at 2 GiB).
Measured on 5 million synthetic documents of which a tenth go, with `memory` from 128 to 512 MB: 13 to 17 microseconds
of one core and 336 bytes of scratch per document, 144 to 290 MB resident; so 250 million take about an hour of one
core, divided by the workers, where the disk keeps up.
"""

import shutil
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data_prep.dedup.components import Forest, empty_forest, join, roots
from data_prep.dedup.external import bucket_bits
from data_prep.dedup.hashes import mixed
from data_prep.dedup.links import Links, Search, jaccard, links_file, write_links, write_records
from data_prep.dedup.minhash import NearDuplicates, bands
from data_prep.dedup.parts import Positions, first_positions, open_rows, write_masks
from data_prep.workers import Pool

SAMPLE = 100  # pairs for the report


class Pair(NamedTuple):
    """A document that goes, and the first of its group, which stays: alike by way of others, if not directly."""

    part: int
    row: int
    kept_part: int
    kept_row: int
    jaccard: float  # estimated


class Found(NamedTuple):
    """Near-duplicates of earlier documents."""

    masks: list[Path]  # .npy, one per part, bool [documents]
    documents: int  # that go
    pairs: list[Pair]  # a sample of them, in the order of a hash, so that the first of it are a sample too
    unfinished: int  # groups of documents that share a band, and were not all compared


def near_duplicates(
    signature_files: Sequence[Path],
    excluded: Sequence[Path],
    options: NearDuplicates,
    scratch: Path,
    memory: int,
    workers: int,
) -> Found:
    """Which documents are near-duplicates of an earlier one, in the order of the files and of their rows.

    Args:
        signature_files: .npy, uint8 [documents, permutations], one per part.
        excluded: .npy, bool [documents], one per part; True: as if the document were not there.
        scratch: a folder for working files and the masks; what is there already is removed, never read.
        memory: bytes, per worker.

    Raises:
        UserError: a worker was killed, or the disk is full.
    """
    shutil.rmtree(scratch, ignore_errors=True)
    (scratch / "links").mkdir(parents=True)
    firsts = first_positions(signature_files)
    bits = bucket_bits(int(firsts[-1]) * bands(options)[0], memory)
    search = Search(signature_files, excluded, firsts, options, scratch, memory, bits)
    unfinished = _find_links(search, workers)
    forest = empty_forest(scratch / "forest", int(firsts[-1]))
    for links in _read_links(search):
        join(forest, links)
    masks = write_masks(scratch / "masks", firsts, forest)
    documents, sampled = _sample(masks, firsts)
    found = Found(masks, documents, _pairs(search, forest, sampled), unfinished)
    shutil.rmtree(scratch / "links")
    (scratch / "forest").unlink()
    return found


def _find_links(search: Search, workers: int) -> int:
    files = len(search.signature_files)
    runs = [range(files * worker // workers, files * (worker + 1) // workers) for worker in range(workers)]
    with Pool(workers, _no_setup) as pool:
        folders = sorted(folder for _, folder in pool.run(partial(write_records, search), [run for run in runs if run]))
        unfinished = sum(left for _, left in pool.run(partial(write_links, search, folders), range(1 << search.bits)))
    for folder in folders:
        folder.rmdir()
    return unfinished


def _no_setup() -> None:
    """Tasks carry all they need."""


def _read_links(search: Search) -> Iterator[Links]:
    block = max(1, search.memory // 256)
    for bucket in range(1 << search.bits):
        links = open_rows(links_file(search.scratch, bucket))
        for start in range(0, len(links), block):
            yield np.array(links[start : start + block])


def _sample(masks: Sequence[Path], firsts: Positions) -> tuple[int, Positions]:
    """The number of documents that go, and the positions of the SAMPLE among them whose hashes are least, by hash."""
    documents, sampled = 0, np.empty(0, np.int64)
    for file, first in zip(masks, firsts[:-1], strict=True):
        gone = first + np.flatnonzero(open_rows(file))
        documents += len(gone)
        sampled = np.concatenate([sampled, gone])
        sampled = sampled[np.argsort(mixed(sampled.astype(np.uint64)), kind="stable")[:SAMPLE]]
    return documents, sampled


def _pairs(search: Search, forest: Forest, sampled: Positions) -> list[Pair]:
    if not len(sampled):
        return []
    kept = roots(forest, sampled)
    estimated = jaccard(search, np.stack([sampled, kept], axis=1))
    part, kept_part = (np.searchsorted(search.firsts, at, side="right") - 1 for at in (sampled, kept))
    row, kept_row = sampled - search.firsts[part], kept - search.firsts[kept_part]
    columns = (part, row, kept_part, kept_row, estimated)
    return [Pair(*values) for values in zip(*(column.tolist() for column in columns), strict=True)]
