"""Whether the input of a source is what it was."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from data_prep.ingest.identity import input_changed
from data_prep.ingest.part import Part

Identity = dict[str, Any]


class Compared(NamedTuple):
    """What `compare` found."""

    changed: str | None  # the first file that is not what it was
    identities: list[Identity]  # to store instead, if nothing changed: a touched file is then not read again


def compare(stored: Sequence[Identity], parts: Sequence[Part]) -> Compared:
    """Compare the identities in a receipt with the disk.

    Raises:
        UserError: a file cannot be read.
    """
    found = []
    for known, part in zip(stored, parts, strict=False):
        comparison = input_changed(known, part)
        if comparison.changed:
            return Compared(comparison.changed, [])
        found.append(comparison.identity)
    if len(stored) == len(parts):
        return Compared(None, found)
    return Compared(_odd_one(stored, parts), [])


def _odd_one(stored: Sequence[Identity], parts: Sequence[Part]) -> str:
    """The first file of the parts that have no counterpart."""
    both = min(len(stored), len(parts))
    return parts[both].names[0] if len(parts) > both else str(stored[both]["files"][0]["name"])
