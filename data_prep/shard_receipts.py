"""The receipts of shards: what they hold, what they were made from, and whether they are still whole."""

from pathlib import Path
from typing import Any

from recipes.artifacts import file_digest, is_sealed, read_json
from recipes.layout import RunFolder
from recipes.plan import SourceSize

Receipt = dict[str, Any]
RECEIPT = "receipt.json"
PREFIX = "documents"  # of the .bin and .idx in a source's folder


def shard_receipts(run: RunFolder) -> list[Receipt]:
    """The receipts of a run in the order of its corpus file; empty before its shards are all built."""
    path = run.heldout / RECEIPT
    if not path.is_file():
        return []
    return [read_json(run.shards / name / RECEIPT) for name in read_json(path)["sources"]]


def shard_sizes(run: RunFolder) -> list[SourceSize]:
    """What the shards of a run hold, in the order of its corpus file; empty before they are all built."""
    return sizes_of(shard_receipts(run))


def sizes_of(receipts: list[Receipt]) -> list[SourceSize]:
    """Training tokens per source."""
    return [SourceSize(receipt["source"], receipt["domain"], receipt["tokens"]) for receipt in receipts]


def is_whole(run: RunFolder, receipt: Receipt) -> bool:
    """Whether the files of a receipt are there as they were written."""
    return not damaged_files(run, receipt)


def damaged_files(run: RunFolder, receipt: Receipt) -> list[Path]:
    """Files of a receipt that are not as they were: the .bin is judged by its size, held-out ones by their digests."""
    folder = run.shards / receipt["source"]
    if not is_sealed(receipt):
        return [folder / RECEIPT]
    damaged = [folder / name for name in receipt["files"] if not (folder / name).is_file()]
    data = folder / f"{PREFIX}.bin"
    if data.is_file() and data.stat().st_size != receipt["bytes"]:
        damaged.append(data)
    heldout = {run.heldout / name: sha for name, sha in receipt["heldout"]["files"].items()}
    return damaged + [path for path, sha in heldout.items() if _digest(path) != sha]


def _digest(path: Path) -> str | None:
    try:
        return file_digest(path)
    except OSError:
        return None


def dropped_lines(receipts: list[Receipt]) -> list[str]:
    """One line per source that lost documents: how many, why, and where the first of them was."""
    return [f"{receipt['source']}: dropped {losses([receipt])}" for receipt in receipts if receipt["dropped"]]


def losses(receipts: list[Receipt]) -> str:
    """For example `not_json 3, first at laws.jsonl:7`."""
    found = [
        f"{reason} {count}, first at {receipt['examples'][reason][0]['place']}"
        for receipt in receipts
        for reason, count in receipt["dropped"].items()
    ]
    return "; ".join(found) or "its files are empty"
