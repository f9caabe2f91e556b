"""A rehearsal as a table on a terminal."""

from typing import get_args

from rich.console import Console
from rich.table import Table

from launch.rehearse.rehearsal import Rehearsal, RehearsedPhase
from recipes.activations import Modules, layer_activations

PARTS = {
    "weights": "weights",
    "gradients": "gradients",
    "optimizer": "optimizer's shard",
    "activations": "activations",
    "logits": "logits",
    "buffers": "buffers",
    "communication": "NCCL",
    "reserve": "reserve",
}


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
    """Phases side by side, which fits narrower terminals than their parts side by side."""
    table = Table(title="GB on the fullest rank", title_justify="left")
    table.add_column("phase", no_wrap=True)
    for phase in answer.phases:
        table.add_column(f"{phase.number} {phase.name}", justify="right", no_wrap=True)
    table.add_row("TP PP CP DP", *(_layout(phase) for phase in answer.phases))
    table.add_row("ranks built", *(f"{phase.distinct_ranks}" for phase in answer.phases))
    table.add_row("the fullest", *(f"rank {phase.fullest.rank}" for phase in answer.phases))
    table.add_section()
    for part, name in PARTS.items():
        table.add_row(name, *(f"{getattr(phase.memory, part) / 1e9:.2f}" for phase in answer.phases))
    table.add_section()
    table.add_row("all", *(f"{phase.memory.total / 1e9:.1f}" for phase in answer.phases))
    table.add_row("has", *(f"{phase.limit / 1e9:.1f}" for phase in answer.phases))
    table.add_row("free", *(_free(phase) for phase in answer.phases))
    return table


def _free(phase: RehearsedPhase) -> str:
    free = (phase.limit - phase.memory.total) / 1e9
    return f"{free:.1f}" if free >= 0 else f"[red]{free:.1f}[/]"


def _order_table(answer: Rehearsal) -> Table:
    table = Table(title="data order", title_justify="left")
    for column in ("phase", "batch = micro × acc × DP"):
        table.add_column(column, no_wrap=True)
    for column in ("steps", "samples", "steps walked", "handed out", "restarts"):
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
        "Built are the ranks of one replica, which hold its different parts; other replicas are alike, and read other "
        "samples.",
        f"These parts hold {answer.phases[0].parameters:,} parameters together, as the model does.",
        "Weights, gradients and optimizer are counted in Megatron-Core's own buffers, with padding; the rest is "
        "arithmetic, for flash attention.",
    ]
    if answer.cluster.gpus_per_node:
        lines.append(
            f"Transformer Engine is taken to be there; plain modules stand in for its own, with the same parameters. "
            f"Without it activations are {_plain_factor(answer):.1f} times as much at most."
        )
    return lines


def _plain_factor(answer: Rehearsal) -> float:
    shape, phase = answer.recipe.model.shape, answer.recipe.phase(answer.phases[0].number)
    sizes = (phase.sequence_length, phase.micro_batch_size, phase.tensor_parallel, phase.context_parallel, 2)
    fused, plain = (layer_activations(shape, *sizes, modules) for modules in get_args(Modules))
    return plain.kept("none") / fused.kept("none")
