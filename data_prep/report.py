"""data_report.html: what came in, what was left out and why, with samples of both, for a reader to agree or not."""

from pathlib import Path
from typing import Any

from data_prep.cleaned import CONTAMINATED, NEAR_DUPLICATE, REASONS, SEMANTIC_DUPLICATE
from data_prep.shard_receipts import Receipt
from recipes.artifacts import atomic_file

TEMPLATE = "report.html.j2"
TITLES = {
    REASONS[NEAR_DUPLICATE]: "Near-duplicates that go, each beside the first document of its group, which stays",
    REASONS[SEMANTIC_DUPLICATE]: "Documents of the same meaning that go, each beside the one that stays",
    REASONS[CONTAMINATED]: "Contaminated documents that go, each beside what it shares with an item that is kept out",
}


def write_report(corpus: str, receipts: list[Receipt], decided: dict[str, Any], target: Path) -> None:
    """Write one self-contained page.

    Args:
        corpus: its name.
        receipts: of all sources.
        decided: the receipt of the selection, with pairs of near-duplicates and such; empty if there was none.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["count"] = lambda number: f"{number:,}"
    page = environment.get_template(TEMPLATE).render(
        corpus=corpus,
        sources=[_row(receipt) for receipt in receipts],
        receipts=receipts,
        shown=decided.get("shown", {}),
        titles=TITLES,
        notes=decided.get("notes", []),
    )
    with atomic_file(target) as partial:
        partial.write_text(page, encoding="utf-8")


def _row(receipt: Receipt) -> dict[str, Any]:
    kept, held_out, dropped = receipt["documents"], receipt["heldout"]["documents"], sum(receipt["dropped"].values())
    return {
        "name": receipt["source"],
        "domain": receipt["domain"],
        "language": receipt["language"],
        "read": kept + held_out + dropped,
        "dropped": dropped,
        "share": dropped / max(1, kept + held_out + dropped),
        "held_out": held_out,
        "kept": kept,
        "tokens": receipt["tokens"],
    }
