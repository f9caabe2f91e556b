"""One source's folder, and what is held out of it."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from data_prep.shard_receipts import RECEIPT
from data_prep.verify.content import Content, Rule
from data_prep.verify.dataset import Dataset, check_account, check_dataset
from data_prep.verify.records import Account, HeldoutReceipt, ShardReceipt, read_record
from data_prep.verify.report import Report
from recipes.artifacts import TEMPORARY
from recipes.layout import RunFolder


class Source(NamedTuple):
    """What a source's folder holds; None where it is not sound."""

    folder: Path
    receipt: ShardReceipt | None
    dataset: Dataset | None = None  # None also when no document was left
    contents: tuple[Content, ...] = ()


def check_source(report: Report, folder: Path) -> Source:
    """Check shards/<source>/ against its receipt."""
    remedy = f"remove {folder} and build this source again"
    receipt = read_record(report, folder / RECEIPT, ShardReceipt, remedy)
    if receipt is None:
        for path in sorted(folder.glob("*.idx")):
            check_dataset(report, path.with_suffix(""), remedy)
        return Source(folder, None)
    warn_of_changes(report, folder / RECEIPT, [folder / file for file in receipt.files])
    dataset, contents = _check_files(report, folder, receipt, receipt, remedy)
    if receipt.source != folder.name:
        report.problem(folder / RECEIPT, "source", f"it is the receipt of {receipt.source}", remedy)
        return Source(folder, None, None, contents)
    return Source(folder, receipt, dataset, contents)


def check_heldout(report: Report, folder: Path, source_at: Callable[[Path], Source]) -> list[Content]:
    """Check heldout/ against its receipt and those of the sources that it was held out of."""
    receipt = read_record(report, folder / RECEIPT, HeldoutReceipt, "build the shards again: they write it last")
    shards = RunFolder(folder.parent).shards
    contents: list[Content] = []
    for name, account in receipt.sources.items() if receipt else ():
        remedy = f"remove {shards / name} and build this source again"
        source = source_at(shards / name).receipt
        if source and source.heldout != account:
            report.problem(folder / RECEIPT, "receipt", f"the receipt of {shards / name} says otherwise", remedy)
        if source:
            warn_of_changes(report, shards / name / RECEIPT, [folder / file for file in source.heldout.files])
            contents += _check_files(report, folder, source.heldout, source, remedy)[1]
    return contents


def check_leftovers(report: Report, folder: Path) -> None:
    """Warn of what a build that was killed left in `folder`."""
    for path in sorted(folder.glob(f"*{TEMPORARY}")):
        found = "a build was killed while it wrote this, or is still running"
        report.warn(path, "leftover", found, "the next build removes it, or do it yourself")


def warn_of_changes(report: Report, receipt: Path, files: list[Path]) -> None:
    """Warn of files that were written after their receipt: their content may be another, of the same size."""
    for path in files:
        if path.is_file() and path.stat().st_mtime_ns > receipt.stat().st_mtime_ns:
            report.warn(path, "changed", f"it was written after its {receipt.name}", "verify it with --full")


def check_present(report: Report, path: Path, remedy: str) -> None:
    """Check that a file is there of which only the digest is known."""
    report.files.append(path)
    if not path.is_file():
        report.problem(path, "file", "it is not there", remedy)


def _check_files(
    report: Report, folder: Path, account: Account, receipt: ShardReceipt, remedy: str
) -> tuple[Dataset | None, tuple[Content, ...]]:
    """Check the files of one account; `receipt` says what their tokens are."""
    dataset, contents = None, []
    for name, digest in account.files.items():
        path, rule = folder / name, None
        if path.suffix == ".bin":
            dataset = check_dataset(report, path.with_suffix(""), remedy, receipt.dtype)
            check_account(report, path.with_suffix(""), dataset, account, remedy)
            rule = Rule(dataset, receipt.vocab_size, receipt.separator_id) if dataset else None
        elif path.suffix != ".idx":
            check_present(report, path, remedy)
        contents.append(Content(path, remedy, digest, rule))
    if account.documents and not any(content.path.suffix == ".bin" for content in contents):
        report.problem(folder / RECEIPT, "receipt", f"it counts {account.documents} documents but no .bin", remedy)
    return dataset, tuple(contents)
