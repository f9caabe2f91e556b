"""From signatures to links between near-duplicates, in external memory: MinHash bands, verified by whole signatures.

Each document gives one record (hash of the band, position) per band; the records go into buckets by key. Documents with
one key are a group. Its first document leads: every other is compared with it, and linked if the estimate reaches the
threshold. The first of those that are not linked leads the next round, and so on for LEADERS rounds. Comparing with the
first alone would leave both of two that are alike to each other and not to the first; with rounds, of any two that
share a band and reach the threshold the later one is linked to an earlier document: to the other one, or to the leader
of a round before. A group that is not done by then leaves the rest to the other bands, and is counted.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from data_prep.dedup.external import BucketWriter, bucket_file, read_bucket
from data_prep.dedup.minhash import NO_WORDS, NearDuplicates, band_keys, bands, estimates
from data_prep.dedup.parts import Positions, open_rows, read_rows, write_rows

LEADERS = 64  # rounds per group
Links = NDArray[np.int64]  # [links, 2]: positions, the earlier first


class Search(NamedTuple):
    """What every task needs to know."""

    signature_files: Sequence[Path]  # .npy, uint8 [documents, permutations]
    excluded: Sequence[Path]  # .npy, bool [documents]
    firsts: Positions
    options: NearDuplicates
    scratch: Path
    memory: int  # bytes
    bits: int


def write_records(search: Search, files: range) -> Path:
    """Write the records of a run of files; returns their folder. The folders' names ascend as the runs do."""
    folder = search.scratch / f"records-{files.start:06d}"
    count, rows = bands(search.options)
    block = max(1, search.memory // (32 * count * rows))
    with BucketWriter(folder, search.bits, search.memory // 4) as writer:
        for file in files:
            signatures, excluded = open_rows(search.signature_files[file]), open_rows(search.excluded[file])
            for start in range(0, len(signatures), block):
                taken = signatures[start : start + block]
                used = np.flatnonzero(~excluded[start : start + block] & (taken != NO_WORDS).any(axis=1))
                positions = search.firsts[file] + start + used
                writer.add(band_keys(taken[used], search.options).ravel(), np.repeat(positions, count))
    return folder


def write_links(search: Search, folders: Sequence[Path], bucket: int) -> int:
    """Write the links of a bucket in place of its records; returns the number of groups that were not done."""
    keys, positions = read_bucket(folders, bucket).view(np.int64).T
    group = np.cumsum(np.diff(keys, prepend=keys[:1]) != 0)
    links, unfinished = _follow_leaders(search, *_in_company(group, positions))
    write_rows(links_file(search.scratch, bucket), links)
    for folder in folders:
        bucket_file(folder, bucket).unlink(missing_ok=True)
    return unfinished


def links_file(scratch: Path, bucket: int) -> Path:
    return scratch / "links" / f"{bucket:06d}.npy"


def jaccard(search: Search, pairs: Links) -> NDArray[np.float64]:
    """The estimated similarity of the documents of each pair, float64 [pairs]."""
    left, right = (read_rows(search.signature_files, search.firsts, ends) for ends in pairs.T)
    return estimates(left, right)


def _in_company(group: NDArray[np.int64], positions: Positions) -> tuple[NDArray[np.int64], Positions]:
    """Those that are not alone in their group; `group` ascends."""
    same = group[1:] == group[:-1]
    kept = np.append(same, False) | np.append(False, same)
    return group[kept[: len(group)]], positions[kept[: len(group)]]


def _follow_leaders(search: Search, group: NDArray[np.int64], positions: Positions) -> tuple[Links, int]:
    found = [np.empty((0, 2), np.int64)]
    for _ in range(LEADERS):
        leads = np.diff(group, prepend=-1) != 0
        pairs = np.stack([positions[leads][np.cumsum(leads) - 1], positions], axis=1)[~leads]
        alike = _alike(search, pairs)
        found.append(pairs[alike])
        group, positions = _in_company(group[~leads][~alike], positions[~leads][~alike])
        if not len(group):
            break
    return np.concatenate(found), len(np.unique(group))


def _alike(search: Search, pairs: Links) -> NDArray[np.bool_]:
    alike = np.zeros(len(pairs), bool)
    block = max(1, search.memory // (8 * search.options.permutations))
    for start in range(0, len(pairs), block):
        alike[start : start + block] = jaccard(search, pairs[start : start + block]) >= search.options.jaccard
    return alike
