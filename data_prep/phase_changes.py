"""Why a phase is built again: what of its inputs is not what it was, in the words of recipe and corpus."""

from collections.abc import Iterable, Iterator
from typing import Any

from data_prep.differences import Difference, differences, listed

CAUSES = ("tool_version", "tokenizer", "seed", "shards")  # said first: shares and sequences follow from them
WORDS = {
    "samples": "token_budget, in sequences",
    "iterations": "token_budget, in iterations",
    "limits": "limit_tokens",
    "tool_version": "the version of this program",
}


def phase_changes(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """What differs between two inputs of a phase (`Job.inputs`); what follows from another difference is left out."""
    found: dict[str, list[Difference]] = {}
    for each in differences(old, new):
        found.setdefault(each.field.split(".")[0], []).append(each)
    if "samples" in found:
        found.pop("iterations", None)
    if "seed" in found:
        found.pop("start", None)  # another order: other documents were read
    fields = sorted(found, key=lambda field: CAUSES.index(field) if field in CAUSES else len(CAUSES))
    return [said for field in fields for said in _said(field, found)]


def _said(field: str, found: dict[str, list[Difference]]) -> Iterator[str]:
    if field in ("shards", "start"):
        moved = {each.field for each in found.get("sources", [])}  # a source that came or went is said there
        if stayed := [each for each in found[field] if f"sources.{_source(each)}" not in moved]:
            what = "the shards of" if field == "shards" else "what earlier phases read of"
            yield f"{what} {listed(list(dict.fromkeys(map(_source, stayed))))}"
    elif field == "sources":
        yield from _mixture(found)
    else:
        for each in found[field]:
            name, *rest = each.field.split(".")
            yield str(each._replace(field=".".join([WORDS.get(name, name), *rest])))


def _mixture(found: dict[str, list[Difference]]) -> Iterator[str]:
    """Shares and minimum lengths; the sequences of a source only where nothing else explains them."""
    minimums = [each for each in found["sources"] if each.field.endswith(".minimum_document_tokens")]
    shares = [each for each in found["sources"] if each.field.endswith(".share") or each.field.count(".") == 1]
    if shares:
        yield f"mixture [{_by_source(shares)}]"
    if minimums:
        yield f"minimum_document_tokens [{_by_source(minimums)}]"
    if not shares and not minimums and "samples" not in found:
        yield f"sequences [{_by_source(found['sources'])}]"


def _by_source(found: Iterable[Difference]) -> str:
    return listed([str(each._replace(field=_source(each))) for each in found])


def _source(found: Difference) -> str:
    return found.field.split(".")[1]
