"""Clean one part of a source: read it, run the cleaning steps, write what stays and an account of what does not."""

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from data_prep.cleaned import CleanedWriter
from data_prep.cleaning.cleaner import Cleaner
from data_prep.cleaning.step import Step
from data_prep.dedup.minhash import NearDuplicates, signatures
from data_prep.ingest.document import Document, Dropped
from data_prep.ingest.identity import identity, sealed_identity
from data_prep.ingest.part import Part
from data_prep.ingest.read import read_part
from data_prep.losses import merge, to_json
from data_prep.strict import account
from recipes.artifacts import atomic_folder, write_json

RECEIPT = "receipt.json"


class Task(NamedTuple):
    """One part, how it is cleaned, and where it goes."""

    part: Part
    text_field: str
    language: str
    steps: tuple[Step, ...]
    near_duplicates: NearDuplicates | None  # whose signatures are written too
    settings: dict[str, Any]  # for the receipt
    folder: Path
    strict: bool


def clean_part(task: Task) -> dict[str, Any]:
    """Write the folder of `task` whole or not at all; returns its receipt."""
    before = identity(task.part)
    cleaner = Cleaner(task.steps, task.language)
    unreadable, cleaned = account(task.part, task.strict), Dropped()
    sign = partial(signatures, options=task.near_duplicates) if task.near_duplicates else None
    with atomic_folder(task.folder) as folder:
        with CleanedWriter(folder, sign) as writer:
            for document in read_part(task.part, task.text_field, unreadable):
                text = cleaner.clean(document, cleaned)
                if text is not None:
                    writer.add(Document(text, document.file, document.line))
        receipt = {
            "input": sealed_identity(task.part, before),
            "settings": task.settings,
            "documents": writer.documents,
            "losses": to_json(merge(unreadable, cleaned)),
            "cleaning": cleaner.account(),
        }
        write_json(folder / RECEIPT, receipt)
    return receipt
