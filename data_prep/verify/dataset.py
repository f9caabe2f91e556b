"""The structure of one .bin/.idx pair, and what its receipt says of it: no token is read."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_prep.indexed import Index, IndexedDatasetError, data_file, index_faults, index_file, map_index, place_faults
from data_prep.verify.records import Account
from data_prep.verify.report import Report


@dataclass(frozen=True)
class Dataset:
    """A pair whose structure is sound."""

    prefix: Path
    index: Index
    boundaries: NDArray[np.int64]  # [documents + 1], the first sequence of each document


def check_dataset(
    report: Report, prefix: Path, remedy: str, dtype: str | None = None, whole: bool = True, single: bool = True
) -> Dataset | None:
    """The dataset if it has no fault; the faults go into the report.

    Args:
        dtype: what the tokens must be; None: anything.
        whole: its documents must fill the .bin in order; False: its .bin is not looked at.
        single: every document is one sequence.
    """
    report.files += [index_file(prefix), data_file(prefix)]
    try:
        dataset = Dataset(prefix, *map_index(prefix))
    except IndexedDatasetError as error:
        report.problem(error.path, error.check, error.found, remedy)
        if whole and not data_file(prefix).is_file():
            report.problem(data_file(prefix), "file", "it is not there", remedy)
        return None
    if dtype and dataset.index.dtype.name != dtype:
        found = f"its tokens are {dataset.index.dtype.name}, {dtype} expected"
        report.problem(index_file(prefix), "dtype", found, remedy)
        return None
    faults = list(index_faults(prefix, dataset.index, dataset.boundaries, single))
    if whole:
        faults += place_faults(prefix, dataset.index)
    for fault in faults:
        report.problem(fault.path, fault.check, fault.found, remedy)
    if not len(dataset.index.lengths):
        report.problem(index_file(prefix), "empty", "it lists no document, which Megatron cannot open", remedy)
        return None
    return None if faults else dataset


def check_account(report: Report, prefix: Path, dataset: Dataset | None, account: Account, remedy: str) -> None:
    """Compare a pair with what its receipt says."""
    path = data_file(prefix)
    if path.is_file() and path.stat().st_size != account.bytes:
        found = f"it has {path.stat().st_size} bytes, its receipt says {account.bytes}"
        report.problem(path, "receipt", found, remedy)
    if dataset and (len(dataset.index.lengths), dataset.index.tokens) != (account.documents, account.tokens):
        listed = f"it lists {len(dataset.index.lengths)} documents of {dataset.index.tokens} tokens"
        found = f"{listed}, its receipt says {account.documents} of {account.tokens}"
        report.problem(index_file(prefix), "receipt", found, remedy)
