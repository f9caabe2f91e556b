"""The report's plots: mixture per phase, loss over tokens, perplexity per domain. Colours: Okabe and Ito (2008)."""

import base64
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from evaluation.metrics import HeldOutLoss, Step, running_mean
from evaluation.results import Result
from recipes.plan import Plan

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442"]
MARKERS = ["o", "s", "^", "D", "v", "P"]
GREY, INK = "#8a8f98", "#22262b"
STYLE = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.titleweight": "bold",
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "svg.hashsalt": "cpt",  # the same report gives the same bytes
}


def data_uri(figure: "Figure") -> str:
    """The figure as an SVG inside a `data:` address, text as outlines: no file and no font is needed to show it."""
    buffer = io.BytesIO()
    with _style():
        figure.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()


def mixture_plot(plan: Plan, domains: Mapping[str, str]) -> "Figure":
    """One bar per phase: the share of its tokens that each source gives, coloured by domain."""
    colours = _source_colours(domains)
    with _style():
        figure, axes = _figure(8.6, 1.3 + 0.55 * len(plan.phases))
        for row, phase in enumerate(plan.phases):
            left = 0.0
            for source in (name for name in colours if name in phase.sources):
                share = 100 * phase.sources[source].tokens / phase.tokens
                bar = axes.barh(row, share, left=left, color=colours[source], edgecolor="white", height=0.66)
                if share >= 4:
                    axes.bar_label(
                        bar, [f"{share:.0f}"], label_type="center", fontsize=9, color=_ink_on(colours[source])
                    )
                left += share
        labels = [f"{phase.number} {phase.name}\n{_count(phase.tokens)} tokens" for phase in plan.phases]
        axes.set_yticks(range(len(plan.phases)), labels)
        axes.invert_yaxis()
        axes.set(xlim=(0, 100), xlabel="share of the phase's tokens (%)")
        axes.tick_params(axis="y", length=0)
        used = {source for phase in plan.phases for source in phase.sources}
        handles = [_swatch(colour, f"{name} ({domains[name]})") for name, colour in colours.items() if name in used]
        axes.legend(handles=handles, frameon=False, loc="upper left", bbox_to_anchor=(1.01, 1.04), fontsize=9)
    return figure


def loss_plot(steps: Sequence[Step], names: Sequence[str], validations: Sequence[HeldOutLoss] = ()) -> "Figure":
    """Training loss over all tokens seen; every phase has its colour, a dashed line stands where one ends.

    `names[p - 1]` is the name of phase p. Held-out loss stands beside it as points, a sign for every domain.
    """
    with _style():
        figure, axes = _figure(8.6, 3.4)
        unit, divisor = _unit(steps[-1].tokens_total)
        phases = sorted({step.phase for step in steps})
        for place, phase in enumerate(phases):
            mine = [step for step in steps if step.phase == phase]
            tokens, loss = [step.tokens_total / divisor for step in mine], [step.loss for step in mine]
            colour = COLOURS[place % len(COLOURS)]
            axes.plot(tokens, loss, color=colour, alpha=0.35, linewidth=1, marker="." if len(mine) < 3 else None)
            smooth = running_mean(loss, max(1, len(mine) // 20))
            axes.plot(tokens, smooth, color=colour, linewidth=2, label=f"{phase} {names[phase - 1]}")
            if phase != phases[-1]:
                axes.axvline(tokens[-1], color=GREY, linestyle=(0, (4, 3)), linewidth=1, zorder=0)
        for place, domain in enumerate(sorted({name for one in validations for name in one.validation})):
            points = [(one.tokens_total / divisor, one.validation.get(domain)) for one in validations]
            known = [point for point in points if point[1] is not None]
            style = {
                "color": INK,
                "ls": ":",
                "lw": 0.6,
                "ms": 5,
                "mfc": "white",
                "marker": MARKERS[place % len(MARKERS)],
            }
            axes.plot(*zip(*known, strict=True), label=f"held out: {domain}", **style)
        axes.set(xlabel=f"tokens seen over all phases ({unit})", ylabel="loss (nats per token)")
        axes.grid(axis="y", color="#e6e8eb", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.margins(x=0.01)
        axes.legend(title="phase", frameon=False, loc="upper left", bbox_to_anchor=(1.01, 1.04), alignment="left")
    return figure


def perplexity_plot(results: Sequence[Result], trigram: Result | None, domains: Mapping[str, str]) -> "Figure":
    """A panel per domain with its own axis from zero: the base in grey, then every phase; the trigram as a line."""
    colours = _domain_colours(domains)
    panels = list(results[0].domains)
    with _style():
        columns = min(3, len(panels))
        rows = -(-len(panels) // columns)
        figure, grid = _figure(8.6, 3.1 * rows, rows, columns)
        line = None
        for axes, domain in zip(grid.flat, panels, strict=False):
            values = [result.domains[domain].perplexity for result in results]
            bars = axes.bar(
                range(len(values)), values, color=[GREY] + [colours.get(domain, INK)] * (len(values) - 1), width=0.7
            )
            labels = axes.bar_label(
                bars, [_short(value) for value in values], padding=3, fontsize=8 if len(values) < 8 else 6
            )
            if trigram and domain in trigram.domains:
                line = axes.axhline(trigram.domains[domain].perplexity, color=INK, linestyle=(0, (4, 3)), linewidth=1.2)
                for label in labels:  # readable where the line passes
                    label.set(bbox={"color": "white", "pad": 0.6}, zorder=3)
            axes.set_xticks(
                range(len(values)), [result.name for result in results], rotation=40, ha="right", rotation_mode="anchor"
            )
            axes.tick_params(axis="x", length=0)
            axes.margins(y=0.14)
            axes.set_title(domain)
        for axes in list(grid.flat)[len(panels) :]:
            axes.remove()
        for row in range(rows):
            grid[row][0].set_ylabel("perplexity per token")
        if trigram and line:
            figure.legend(handles=[line], labels=[trigram.name], frameon=False, fontsize=9, loc="outside upper right")
    return figure


def _figure(width: float, height: float, rows: int | None = None, columns: int = 1) -> tuple["Figure", Any]:
    """A figure without pyplot, so that no window system and no global state is touched."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows or 1, columns, squeeze=rows is None)


def _style() -> Any:
    import matplotlib

    return matplotlib.rc_context(STYLE)


def _domain_colours(domains: Mapping[str, str]) -> dict[str, str]:
    names = list(dict.fromkeys(domains.values()))
    return {name: COLOURS[place % len(COLOURS)] for place, name in enumerate(names)}


def _source_colours(domains: Mapping[str, str]) -> dict[str, str]:
    """Sources grouped by domain: the domain's colour, lighter from one source to the next."""
    colours = {}
    for domain, base in _domain_colours(domains).items():
        members = [source for source in domains if domains[source] == domain]
        for place, source in enumerate(members):
            colours[source] = _lighter(base, 0.72 * place / max(1, len(members) - 1) if place else 0)
    return colours


def _lighter(colour: str, amount: float) -> str:
    parts = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(part + (255 - part) * amount):02x}" for part in parts)


def _ink_on(colour: str) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "white" if 0.299 * red + 0.587 * green + 0.114 * blue < 130 else INK


def _swatch(colour: str, label: str) -> Any:
    from matplotlib.patches import Patch

    return Patch(color=colour, label=label)


def _unit(tokens: int) -> tuple[str, float]:
    for divisor, unit in ((1e9, "billion"), (1e6, "million"), (1e3, "thousand")):
        if tokens >= divisor:
            return unit, divisor
    return "tokens", 1


def _count(tokens: int) -> str:
    for divisor, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if tokens >= divisor:
            return f"{tokens / divisor:.3g} {unit}"
    return str(tokens)


def _short(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"
