"""What a cleaning step did: counts, and a few samples of before and after.

As JSON, per step: `step` (its name), `documents` (that came in), `changed`, `dropped` (documents by reason),
`characters_removed` (from changed documents; negative where a step adds), `samples` (by reason, and under `changed`).
A sample has `digest` (16 hex digits of the document as it came), `file`, `line`, `before` and, unless the document was
dropped, `after`: excerpts around the first changed place.

Which documents are sampled depends on their content alone: the smallest digests. So the samples are the same whatever
the order of documents and the number of workers.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from data_prep.ingest.document import Document

SAMPLES = 5  # kept per step and reason
AROUND = 200  # characters shown before and after the first changed place
CHANGED = "changed"
Sample = dict[str, Any]


class StepAccount:
    """The account of one step while it runs."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.documents = self.changed = self.characters_removed = 0
        self.dropped: Counter[str] = Counter()
        self._samples: dict[str, dict[bytes, Sample]] = {}  # by reason, then by digest

    def change(self, before: str, after: str, digest: bytes, document: Document) -> None:
        self.changed += 1
        self.characters_removed += len(before) - len(after)
        if self._is_wanted(CHANGED, digest):
            start = max(0, _common_prefix(before, after) - AROUND)
            self._keep(CHANGED, digest, document, before=_excerpt(before, start), after=_excerpt(after, start))

    def drop(self, reason: str, before: str, digest: bytes, document: Document) -> None:
        self.dropped[reason] += 1
        if self._is_wanted(reason, digest):
            self._keep(reason, digest, document, before=_excerpt(before, 0))

    def as_json(self) -> dict[str, Any]:
        return {
            "step": self.name,
            "documents": self.documents,
            "changed": self.changed,
            "dropped": dict(sorted(self.dropped.items())),
            "characters_removed": self.characters_removed,
            "samples": {reason: _smallest(list(kept.values())) for reason, kept in sorted(self._samples.items())},
        }

    def _is_wanted(self, reason: str, digest: bytes) -> bool:
        kept = self._samples.setdefault(reason, {})
        return digest not in kept and (len(kept) < SAMPLES or digest < max(kept))

    def _keep(self, reason: str, digest: bytes, document: Document, **excerpts: str) -> None:
        kept = self._samples[reason]
        kept[digest] = {"digest": digest.hex(), "file": document.file, "line": document.line, **excerpts}
        if len(kept) > SAMPLES:
            del kept[max(kept)]


def merge_accounts(accounts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One account from those of all parts of a source, which ran the same steps; {"steps": []} for none."""
    by_step = zip(*(account["steps"] for account in accounts), strict=True)
    return {"steps": [_merge_step(parts) for parts in by_step]}


def _merge_step(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    dropped: Counter[str] = Counter()
    samples: dict[str, list[Sample]] = {}
    for part in parts:
        dropped.update(part["dropped"])
        for reason, found in part["samples"].items():
            samples.setdefault(reason, []).extend(found)
    return {
        "step": parts[0]["step"],
        **{count: sum(part[count] for part in parts) for count in ("documents", "changed")},
        "dropped": dict(sorted(dropped.items())),
        "characters_removed": sum(part["characters_removed"] for part in parts),
        "samples": {reason: _smallest(found) for reason, found in sorted(samples.items())},
    }


def _smallest(samples: list[Sample]) -> list[Sample]:
    """The samples to keep, one per digest: of copies of a document the one that is named first."""
    ordered = sorted(samples, key=lambda sample: (sample["digest"], sample["file"], sample["line"]), reverse=True)
    first = {sample["digest"]: sample for sample in ordered}
    return [first[digest] for digest in sorted(first)[:SAMPLES]]


def _excerpt(text: str, start: int) -> str:
    return text[start : start + 2 * AROUND]


def _common_prefix(one: str, other: str) -> int:
    """The number of characters that both begin with, by halving: slices are compared as fast as memory is read."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
