"""The account of what a source lost: parts added up, and lines counted from the beginning of their file."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from data_prep.cleaning.account import merge_accounts
from data_prep.ingest.document import EXAMPLES, Dropped, Example


class Loss(NamedTuple):
    """What was left out for one reason."""

    documents: int
    examples: list[Example]  # the first of them, lines from the beginning of their file


def add_up(parts: Iterable[Dropped]) -> dict[str, Loss]:
    """Losses by reason, over the parts of a source in order."""
    before: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    examples: dict[str, list[Example]] = {}
    for part in parts:
        counts.update(part.counts)
        for reason, found in part.examples.items():
            listed = examples.setdefault(reason, [])
            moved = (example._replace(line=example.line + before[example.file]) for example in found)
            listed += list(moved)[: EXAMPLES - len(listed)]
        before.update(part.lines)
    return {reason: Loss(counts[reason], examples.get(reason, [])) for reason in sorted(counts)}


def place(example: Example) -> str:
    """For example `laws.jsonl:7`."""
    return f"{example.file}:{example.line}"


def to_json(dropped: Dropped) -> dict[str, Any]:
    """For a part's receipt."""
    return {
        "lines": dict(sorted(dropped.lines.items())),
        "counts": dict(sorted(dropped.counts.items())),
        "examples": dict(sorted(dropped.examples.items())),
    }


def from_json(content: Mapping[str, Any]) -> Dropped:
    """What `to_json` wrote."""
    dropped = Dropped()
    dropped.lines.update(content["lines"])
    dropped.counts.update(content["counts"])
    dropped.examples = {reason: [Example(*row) for row in rows] for reason, rows in content["examples"].items()}
    return dropped


def merge(first: Dropped, second: Dropped) -> Dropped:
    """The losses of two passes over the same part; the lines are those of the first, which read the file."""
    merged = from_json(to_json(first))
    merged.counts.update(second.counts)
    for reason, found in second.examples.items():
        merged.examples[reason] = [*merged.examples.get(reason, []), *found][:EXAMPLES]
    return merged


def merge_cleaning(parts: Sequence[tuple[dict[str, Any], Mapping[str, int]]]) -> dict[str, Any]:
    """One account of the cleaning steps from those of all parts in order, each with the lines that its part read."""
    before: Counter[str] = Counter()
    moved = []
    for account, lines in parts:
        moved.append({"steps": [_moved(step, before) for step in account["steps"]]})
        before.update(lines)
    return merge_accounts(moved)


def _moved(step: dict[str, Any], before: Mapping[str, int]) -> dict[str, Any]:
    """A step's account with the lines of its samples counted from the beginning of their file."""
    samples = {
        reason: [{**sample, "line": sample["line"] + before[sample["file"]]} for sample in found]
        for reason, found in step["samples"].items()
    }
    return {**step, "samples": samples}
