"""A plan as tables on a terminal."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from recipes.cluster import Cluster
from recipes.plan import Plan, PlannedPhase, PlannedSource, SourceSize
from recipes.schedule import Curve, phase_curve
from recipes.schema import Recipe

_WIDTH, _HEIGHT = 96, 4  # characters of the learning-rate curve
_LEVELS = " ▁▂▃▄▅▆▇█"


def show_plan(
    console: Console, recipe: Recipe, plan: Plan, sizes: Sequence[SourceSize], cluster: Cluster | None
) -> None:
    """Print phases, schedule, batch identity, and what every source gives to every phase."""
    shape = recipe.model.shape
    console.print(
        f"[bold]{recipe.name}[/]: {recipe.model.family} with {shape.parameters:,} parameters, "
        f"{plan.tokens:,} tokens in {len(plan.phases)} phase(s), seed {plan.seed}, {recipe.precision}"
    )
    console.print(_phase_table(recipe, plan))
    console.print(_curves(recipe, plan), highlight=False)
    if cluster:
        console.print(_batch_table(plan, cluster))
    console.print(_source_table(recipe, plan, sizes))


def _phase_table(recipe: Recipe, plan: Plan) -> Table:
    table = Table(title="phases", title_justify="left")
    for column in ("phase", "name"):
        table.add_column(column)
    for column in ("budget", "tokens", "sequence", "batch", "iterations", "samples", "warmup"):
        table.add_column(column, justify="right")
    for column in ("learning rate", "Adam's moments"):
        table.add_column(column)
    for phase in plan.phases:
        table.add_row(
            str(phase.number),
            phase.name,
            f"{phase.token_budget:,}",
            f"{phase.tokens:,}",
            f"{phase.sequence_length:,}",
            f"{phase.global_batch_size:,}",
            f"{phase.iterations:,}",
            f"{phase.samples:,}",
            f"{phase.warmup_iterations:,}",
            _learning_rate(phase, phase_curve(recipe, phase.number)),
            recipe.phase(phase.number).optimizer_state if phase.number > 1 else "",
        )
    return table


def _learning_rate(phase: PlannedPhase, curve: Curve) -> str:
    """The kind, and the rates between which it falls: after warmup, or where a schedule is taken up, and at the end."""
    top, end = (f"{curve.at(step):.3g}" for step in (phase.warmup_iterations, phase.iterations))
    return f"{phase.schedule.kind} {top}" + (f" → {end}" if end != top else "")


def _curves(recipe: Recipe, plan: Plan) -> str:
    """The learning rate over the tokens of all phases, as columns of blocks; phases are a space apart."""
    columns: list[float] = []
    for phase in plan.phases:
        curve, width = phase_curve(recipe, phase.number), max(2, round(_WIDTH * phase.tokens / plan.tokens))
        columns += [curve.at(int((column + 0.5) * phase.iterations / width)) for column in range(width)] + [0.0]
    highest = max(columns)
    levels = [round(8 * _HEIGHT * rate / highest) for rate in columns]
    rows = [
        "".join(_LEVELS[min(8, max(0, level - 8 * row))] for level in levels).rstrip()
        for row in reversed(range(_HEIGHT))
    ]
    return "\n".join([f"learning rate over tokens, highest {highest:.3g}", *rows])


def _batch_table(plan: Plan, cluster: Cluster) -> Table:
    title = f"batch identity on {cluster.name}: {cluster.nodes} nodes × {cluster.ranks_per_node} ranks"
    table = Table(title=title, title_justify="left")
    table.add_column("phase")
    table.add_column("global = micro × accumulation × data parallel")
    table.add_column("world = data × tensor × pipeline × context parallel")
    for phase in plan.phases:
        if batch := phase.batch:
            table.add_row(
                str(phase.number),
                f"{batch.global_batch_size} = {batch.micro_batch_size} × {batch.accumulation} × {batch.data_parallel}",
                f"{batch.world_size} = {batch.data_parallel} × {batch.tensor_parallel} × {batch.pipeline_parallel}"
                f" × {batch.context_parallel}",
            )
    return table


def _source_table(recipe: Recipe, plan: Plan, sizes: Sequence[SourceSize]) -> Table:
    table = Table(
        title=f"share of each phase, and epochs up to its end (at most {recipe.max_epochs:g})", title_justify="left"
    )
    table.add_column("source")
    table.add_column("tokens", justify="right")
    for phase in plan.phases:
        table.add_column(f"{phase.number} {phase.name}", justify="right")
    for size in sizes:
        cells = []
        for phase in plan.phases:
            source = phase.sources.get(size.name)
            cells.append(_share(source) if source else "–")
        table.add_row(size.name, f"{size.tokens:,}", *cells)
    return table


def _share(source: PlannedSource) -> str:
    long = f"\n≥ {source.minimum_document_tokens:,} tokens" if source.minimum_document_tokens > 1 else ""
    return f"{source.share:.2%}  {source.epochs_so_far:.2f}{long}"
