"""A rehearsal as a table on a terminal."""

from rich.console import Console
from rich.table import Table

from launch.rehearse.rehearsal import Rehearsal, RehearsedPhase

PARTS = ("weights", "gradients", "optimizer", "activations", "logits", "buffers", "reserve")


def show_rehearsal(console: Console, answer: Rehearsal) -> None:
    """Print what was built, what it needs, and what is wrong."""
    cluster = answer.cluster
    what = cluster.accelerator.name if cluster.accelerator else "processes without GPU"
    console.print(
        f"[bold]{answer.recipe.name}[/] on {cluster.name}: {cluster.nodes} × {cluster.ranks_per_node} ranks, {what}",
        highlight=False,
    )
    if answer.phases:
        console.print(_memory_table(answer))
        console.print(_order_table(answer))
        for line in _notes(answer):
            console.print(line, highlight=False)
    for problem in answer.problems:
        console.print(f"[red]✗[/] {problem}", highlight=False)
    if not answer.problems:
        console.print("[green]✓[/] everything divides, fits, and is read once", highlight=False)


def _memory_table(answer: Rehearsal) -> Table:
    table = Table(title="GB on the fullest rank", title_justify="left")
    for column in ("phase", "TP PP CP DP"):
        table.add_column(column, no_wrap=True)
    for column in ("built", "rank", *PARTS, "all", "has", "free"):
        table.add_column(column, justify="right", no_wrap=True)
    for phase in answer.phases:
        memory = phase.memory
        free = (phase.limit - memory.total) / 1e9
        table.add_row(
            f"{phase.number} {phase.name}",
            _layout(phase),
            f"{phase.distinct_ranks}",
            f"{phase.fullest.rank}",
            *(f"{getattr(memory, part) / 1e9:.2f}" for part in PARTS),
            f"{memory.total / 1e9:.1f}",
            f"{phase.limit / 1e9:.1f}",
            f"{free:.1f}" if free >= 0 else f"[red]{free:.1f}[/]",
        )
    return table


def _order_table(answer: Rehearsal) -> Table:
    table = Table(title="data order", title_justify="left")
    for column in ("phase", "batch = micro × acc × DP"):
        table.add_column(column, no_wrap=True)
    for column in ("steps", "samples", "steps walked", "samples handed out", "restarts tried"):
        table.add_column(column, justify="right", no_wrap=True)
    for phase in answer.phases:
        stated, batch, walk = answer.recipe.phase(phase.number), phase.batch, phase.walk
        table.add_row(
            f"{phase.number} {phase.name}",
            f"{batch.global_batch_size:,} = {batch.micro_batch_size} × {batch.accumulation} × {batch.data_parallel}",
            f"{stated.iterations:,}",
            f"{stated.samples:,}",
            _ranges(walk.steps),
            f"{walk.samples:,}",
            f"{walk.restarts}",
        )
    return table


def _layout(phase: RehearsedPhase) -> str:
    batch = phase.batch
    return f"{batch.tensor_parallel} {batch.pipeline_parallel} {batch.context_parallel} {batch.data_parallel}"


def _ranges(steps: list[int]) -> str:
    """Steps, from 0, as first–last of each stretch."""
    cuts = [at for at in range(1, len(steps)) if steps[at] > steps[at - 1] + 1]
    stretches = [steps[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(steps)], strict=True)]
    return ", ".join(f"{stretch[0]:,}–{stretch[-1]:,}" for stretch in stretches)


def _notes(answer: Rehearsal) -> list[str]:
    lines = [
        "built: the ranks of one replica, which hold its different parts; other replicas are alike, and read other "
        "samples.",
        f"These parts hold {answer.phases[0].parameters:,} parameters together, as the model does.",
        "Weights, gradients and optimizer are counted in Megatron-Core's own buffers, with padding; the rest is "
        "arithmetic, for flash attention.",
    ]
    if answer.cluster.gpus_per_node:
        lines.append("Plain modules stand in for Transformer Engine's, which have the same parameters.")
    return lines
