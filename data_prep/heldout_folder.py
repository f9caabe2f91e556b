"""heldout/<source>.{jsonl,bin,idx}: where evaluation looks for the documents that no phase trains on."""

from pathlib import Path
from typing import Any

from data_prep.corpus import Corpus
from data_prep.shard_receipts import RECEIPT, Receipt
from recipes.artifacts import TEMPORARY, atomic_file, sealed, write_json_if_changed
from recipes.layout import RunFolder

SUFFIXES = (".jsonl", ".bin", ".idx")


def publish_heldout(staged: Path, heldout: Path, source: str) -> None:
    """Move the held-out files where evaluation looks for them; the receipt that vouches for them comes after."""
    for suffix in SUFFIXES:
        target, file = heldout / f"{source}{suffix}", staged / f"{source}{suffix}"
        if file.exists():
            with atomic_file(target) as partial:
                file.replace(partial)
        else:
            target.unlink(missing_ok=True)
    staged.rmdir()


def finish_heldout(corpus: Corpus, run: RunFolder, receipts: list[Receipt]) -> None:
    """Write heldout/receipt.json, and remove what an earlier corpus or a killed run left there."""
    content = heldout_receipt(corpus, receipts)
    expected = {RECEIPT, *(name for source in content["sources"].values() for name in source["files"])}
    for path in run.heldout.iterdir():
        if path.is_file() and path.name not in expected and not path.name.endswith(TEMPORARY):
            path.unlink(missing_ok=True)
    write_json_if_changed(run.heldout / RECEIPT, content)


def heldout_receipt(corpus: Corpus, receipts: list[Receipt]) -> dict[str, Any]:
    """What heldout/receipt.json says."""
    sources = {receipt["source"]: {"domain": receipt["domain"], **receipt["heldout"]} for receipt in receipts}
    return sealed({"corpus": corpus.name, "heldout_fraction": corpus.heldout_fraction, "sources": sources})
