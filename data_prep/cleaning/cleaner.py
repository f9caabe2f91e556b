"""Run the steps of a source over its documents, and keep the account of what they did."""

import hashlib
from collections.abc import Sequence
from typing import Any

from data_prep.cleaning.account import StepAccount
from data_prep.cleaning.step import Drop, Step
from data_prep.ingest.document import Document, Dropped


class Cleaner:
    """The steps of one source, in order.

    Raises:
        UserError: a step needs something that is not installed or not there.
    """

    def __init__(self, steps: Sequence[Step], language: str) -> None:
        self._steps = [(step.ready(language), StepAccount(step.name)) for step in steps]

    def clean(self, document: Document, dropped: Dropped) -> str | None:
        """The cleaned text, or None if a step dropped the document; then its reason is counted in `dropped` too."""
        text, digest = document.text, b""
        for clean, account in self._steps:
            result = clean(text)
            account.documents += 1
            if result == text:
                continue
            digest = digest or _digest(document.text)
            if isinstance(result, Drop):
                account.drop(result.reason, text, digest, document)
                dropped.add(result.reason, document.file, document.line, text)
                return None
            account.change(text, result, digest, document)
            text = result
        return text

    def account(self) -> dict[str, Any]:
        """What each step did so far, as JSON: see `account.py`."""
        return {"steps": [account.as_json() for _, account in self._steps]}


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
