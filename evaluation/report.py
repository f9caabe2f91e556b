"""The report of a run: one self-contained HTML page, the same as Markdown, and the numbers as JSON."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from pydantic import BaseModel

from evaluation.metrics import HeldOutLoss, Step
from evaluation.results import Change, Result, compare
from recipes.artifacts import atomic_file, package_version, write_json
from recipes.errors import UserError
from recipes.plan import Plan
from recipes.schema import Recipe

TEMPLATES = Path(__file__).parent
PACKAGES = ("cpt-launcher", "nemo-toolkit", "megatron-core", "torch", "transformers", "numpy")


class Training(BaseModel):
    """What the log of one phase says. Loss in nats per token."""

    phase: str
    logged_steps: int
    tokens: int
    first_loss: float
    last_loss: float  # mean of the last tenth of the logged steps
    tokens_per_second: float | None  # median


class Report(BaseModel):
    """Everything on the page but the plots; this is report.json."""

    recipe: Recipe
    plan: Plan | None
    domains: dict[str, str]  # source -> domain
    training: list[Training]
    results: list[Result]  # the base first
    trigram: Result | None
    changes: list[Change]  # one per result after the base
    versions: dict[str, str]


def make_report(
    recipe: Recipe,
    results: Sequence[Result],
    plan: Plan | None = None,
    domains: Mapping[str, str] | None = None,
    steps: Sequence[Step] = (),
    trigram: Result | None = None,
) -> Report:
    """Put a report together; `results` start with the base, `domains` are those of the plan's sources.

    Raises:
        UserError: no result, or results on different text.
    """
    if not results:
        raise UserError("the report needs the result of at least one model; run the evaluation first.")
    if trigram:
        compare(results[0], [trigram])
    return Report(
        recipe=recipe,
        plan=plan,
        domains={**_plan_sources(plan), **results[0].source_domains, **(domains or {})},
        training=_training(recipe, steps),
        results=list(results),
        trigram=trigram,
        changes=compare(results[0], results[1:]),
        versions={name: package_version(name) or "not installed" for name in PACKAGES},
    )


def _plan_sources(plan: Plan | None) -> dict[str, str]:
    """Sources in the order of the plan; each its own domain until something better is known."""
    return {name: name for phase in plan.phases for name in phase.sources} if plan else {}


def write_report(report: Report, steps: Sequence[Step], folder: Path, validations: Sequence[HeldOutLoss] = ()) -> Path:
    """Write report.html, report.md and report.json into `folder`; returns the path of the page."""
    plots = _plots(report, steps, validations)
    page = _environment(html=True).get_template("report.html.j2").render(_context(report), plots=plots)
    for name, text in (("report.html", page), ("report.md", render_markdown(report))):
        with atomic_file(folder / name) as partial:
            partial.write_text(text, encoding="utf-8")
    write_json(folder / "report.json", report.model_dump(mode="json"))
    return folder / "report.html"


def render_markdown(report: Report) -> str:
    """The report without plots."""
    return _environment(html=False).get_template("report.md.j2").render(_context(report))


def _context(report: Report) -> dict[str, Any]:
    rows = [*report.results, *([report.trigram] if report.trigram else [])]
    return {"report": report, "base": report.results[0], "last": report.results[-1], "rows": rows}


def _plots(report: Report, steps: Sequence[Step], validations: Sequence[HeldOutLoss]) -> dict[str, str]:
    from evaluation.plots import data_uri, loss_plot, mixture_plot, perplexity_plot

    plots = {"perplexity": data_uri(perplexity_plot(report.results, report.trigram, report.domains))}
    if report.plan:
        plots["mixture"] = data_uri(mixture_plot(report.plan, report.domains))
    if steps:
        plots["loss"] = data_uri(loss_plot(steps, _phase_names(report.recipe, steps), validations))
    return plots


def _training(recipe: Recipe, steps: Sequence[Step]) -> list[Training]:
    names = _phase_names(recipe, steps)
    return [_phase_training(names[p - 1], [s for s in steps if s.phase == p]) for p in sorted({s.phase for s in steps})]


def _phase_training(name: str, steps: list[Step]) -> Training:
    tail = steps[-max(1, len(steps) // 10) :]
    speeds = sorted(step.tokens_per_second for step in steps if step.tokens_per_second)
    return Training(
        phase=name,
        logged_steps=len(steps),
        tokens=steps[-1].tokens,
        first_loss=steps[0].loss,
        last_loss=sum(step.loss for step in tail) / len(tail),
        tokens_per_second=speeds[len(speeds) // 2] if speeds else None,
    )


def _phase_names(recipe: Recipe, steps: Sequence[Step]) -> list[str]:
    """Names of the recipe's phases, and numbers for phases that the log has beyond them."""
    names = [phase.name for phase in recipe.phases]
    return names + [str(n) for n in range(len(names) + 1, max((s.phase for s in steps), default=0) + 1)]


def _environment(html: bool) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=html,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["percent"] = lambda value: f"{value:+.1f} %".replace("-", "−")
    environment.filters["count"] = lambda value: f"{value:,}"
    environment.filters["number"] = lambda value: f"{value:,.2f}" if value < 1000 else f"{value:,.0f}"
    return environment
