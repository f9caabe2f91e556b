"""phases/<n>/mixture.png: what was asked of every source and what it gives. Colours: Okabe and Ito (2008)."""

from itertools import cycle
from pathlib import Path
from typing import Any

from data_prep.phase_table import PhaseTable, SourceRow

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")
GREY, INK = "#8a8f98", "#22262b"
STYLE = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


def draw_mixture(phase: PhaseTable, max_epochs: float, path: Path) -> None:
    """Write a PNG: per source the share asked and reached, its tokens, and how often it has been read so far."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    domains = list(dict.fromkeys(row.domain for row in phase.sources))
    rows = sorted(phase.sources, key=lambda row: domains.index(row.domain))
    colours = dict(zip(domains, cycle(COLOURS), strict=False))
    width, height = 9.6, 1.5 + 0.26 * len(rows)  # inches
    margin = 0.25 + 0.075 * max(len(_label(row)) for row in rows)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height), dpi=120)  # no layout engine: it draws everything twice
        FigureCanvasAgg(figure)
        shares, epochs = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
        _draw_shares(shares, rows, colours)
        _draw_epochs(epochs, rows, colours, max_epochs)
        figure.subplots_adjust(margin / width, 0.85 / height, 0.985, 1 - 0.6 / height, wspace=0.04)
        figure.text(0.1 / width, 1 - 0.1 / height, _title(phase), va="top", fontsize=11, weight="bold")
        handles = [_swatch(colours[domain], _domain_label(phase, domain)) for domain in domains]
        figure.legend(handles=handles, loc="lower left", ncols=min(3, len(domains)), frameon=False)
        figure.savefig(path, format="png", metadata={"Software": None})  # the same table gives the same bytes


def _draw_shares(axes: Any, rows: list[SourceRow], colours: dict[str, str]) -> None:
    places = range(len(rows))
    bars = axes.barh(places, [100 * row.share_reached for row in rows], color=[colours[row.domain] for row in rows])
    axes.vlines(
        [100 * row.share_asked for row in rows],
        [place - 0.46 for place in places],
        [place + 0.46 for place in places],
        color=INK,
        linewidth=1.4,
    )
    axes.bar_label(bars, [f"{100 * row.share_reached:.2f} %  {count(row.tokens)}" for row in rows], padding=5)
    axes.set_yticks(places, [_label(row) for row in rows])
    axes.invert_yaxis()
    axes.margins(x=0.34, y=0.02)
    axes.set(xlim=(0, None), xlabel="share of the phase (%)")
    axes.set_title("reached (bar), asked (line), tokens")
    axes.tick_params(axis="y", length=0)


def _draw_epochs(axes: Any, rows: list[SourceRow], colours: dict[str, str], max_epochs: float) -> None:
    places = range(len(rows))
    before = [max(0.0, row.epochs_so_far - row.epochs) for row in rows]
    axes.barh(places, before, color=[colours[row.domain] for row in rows], alpha=0.35)
    bars = axes.barh(places, [row.epochs for row in rows], left=before, color=[colours[row.domain] for row in rows])
    axes.bar_label(bars, [f"{row.epochs_so_far:.3f}" for row in rows], padding=5)
    highest = max(row.epochs_so_far for row in rows)
    axes.set_xlim(0, 1.3 * highest)
    if max_epochs <= 1.3 * highest:
        axes.axvline(max_epochs, color=INK, linestyle=(0, (4, 3)), linewidth=1)
    axes.set_xlabel("times the source is read")
    axes.set_title(f"epochs so far: before (pale), this phase; at most {max_epochs:g}")
    axes.tick_params(axis="y", length=0)


def _label(row: SourceRow) -> str:
    return f"{row.source} ≥ {row.minimum_document_tokens:,}" if row.minimum_document_tokens > 1 else row.source


def _title(phase: PhaseTable) -> str:
    return (
        f"phase {phase.number} {phase.name}: {count(phase.tokens)} tokens = {phase.samples:,} sequences of "
        f"{phase.sequence_length:,}, {phase.iterations:,} iterations"
    )


def _domain_label(phase: PhaseTable, domain: str) -> str:
    rows = [row for row in phase.sources if row.domain == domain]
    asked, reached = sum(row.share_asked for row in rows), sum(row.share_reached for row in rows)
    return f"{domain}: asked {100 * asked:.2f} %, reached {100 * reached:.2f} %"


def count(tokens: int) -> str:
    """For example `12.3 M`."""
    for divisor, unit in ((1e9, " B"), (1e6, " M"), (1e3, " k")):
        if tokens >= divisor:
            return f"{tokens / divisor:.3g}{unit}"
    return str(tokens)


def _swatch(colour: str, label: str) -> Any:
    from matplotlib.patches import Patch

    return Patch(color=colour, label=label)
