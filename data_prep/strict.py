"""--strict: the first document that cannot be used ends the work, named by file and line."""

from collections.abc import Iterable, Mapping
from typing import Any

from data_prep.cleaned import REASONS
from data_prep.ingest.document import Dropped
from data_prep.ingest.part import Part
from recipes.errors import UserError


class Refusing(Dropped):
    """Raises instead of counting."""

    def __init__(self, part: Part) -> None:
        super().__init__()
        self._part = part

    def add(self, reason: str, file: str, line: int, text: str = "") -> None:
        raise _refusal(reason, f"{file}:{_lines_before(self._part) + line}")


def account(part: Part, strict: bool) -> Dropped:
    """Where the reader of `part` puts what cannot be used."""
    return Refusing(part) if strict else Dropped()


def refuse_losses(receipts: Iterable[Mapping[str, Any]]) -> None:
    """Raise for shards that were built without --strict and lost a document that could not be used."""
    for receipt in receipts:
        for reason in receipt["dropped"]:
            if "." not in reason and reason not in REASONS.values():
                raise _refusal(reason, receipt["examples"][reason][0]["place"])


def _refusal(reason: str, place: str) -> UserError:
    return UserError(f"corpus file {place}: {reason}; mend or remove this document, or leave out --strict.")


def _lines_before(part: Part) -> int:
    """Lines of a JSON-lines file before the part; other parts count from their own beginning."""
    if part.kind != "jsonl" or not part.start:
        return 0
    from data_prep.ingest.lines import file_blocks, line_range

    path = part.files[0]
    return sum(block.count(b"\n") for block in file_blocks(path, 0, line_range(path, part.start, part.stop)[0]))
