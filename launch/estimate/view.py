"""An estimate as tables on a terminal."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from launch.estimate.layouts import Candidate
from launch.estimate.report import Estimate

PARTS = {
    "matmul": "matrix products",
    "attention": "attention",
    "activations": "element-wise kernels (memory bandwidth)",
    "softmax": "logits and softmax (memory bandwidth)",
    "gradients": "adding up gradients (memory bandwidth)",
    "optimizer": "optimizer (memory bandwidth)",
    "launch": "kernel launches",
    "tensor": "tensor parallel, inside nodes",
    "context": "context parallel",
    "gather": "gathering weights between nodes, not hidden",
    "reduce": "reducing gradients between nodes, not hidden",
    "bubble": "pipeline bubble",
    "straggling": "waiting for the slowest node",
}


def show_estimate(console: Console, answer: Estimate) -> None:
    """Print where time goes, what layouts would reach, and the advice."""
    console.print(_heading(answer), highlight=False)
    console.print(_time_table(answer))
    console.print(_layout_table(answer))
    console.print(
        "sums: precision of gradients; loss: tokens whose logits exist at a time, if not all; GB: memory of the fullest"
        " rank, ! more than the GPU has",
        highlight=False,
    )
    for line in _verdict(answer):
        console.print(line, highlight=False)
    console.print(_batch_table(answer))
    for line in _advice(answer):
        console.print(line, highlight=False)


def _heading(answer: Estimate) -> str:
    task, layout = answer.task, answer.stated.layout
    reach, flops = layout.attention_length, task.shape.flops_per_token(layout.attention_length)
    lines = [
        f"[bold]{task.recipe.name}[/], phase {task.phase.name}, on {task.cluster.name}: {task.cluster.nodes} active "
        f"nodes, {layout.gpus} GPUs",
        f"MFU: (6 · matrix weights + 6 · layers · heads · head_dim · {reach:,.0f} tokens: causal attention) per token",
        f"     = {flops / 1e9:.2f} GFLOP, against a peak of {task.machine.peak_flops / 1e12:g} TFLOP/s per GPU",
    ]
    if task.documents:
        lines.append(f"Attention stays inside documents: {reach:,.0f} tokens, {task.documents.origin}.")
    return "\n".join(lines)


def _time_table(answer: Estimate) -> Table:
    shown = [("as the recipe states", answer.stated)]
    if answer.chosen and answer.chosen.layout != answer.stated.layout:
        shown.append(("recommended", answer.chosen))
    table = Table(title="where the time of a step goes", title_justify="left")
    table.add_column("part")
    for title, _ in shown:
        table.add_column(title, justify="right")
        table.add_column("", justify="right")
    for part, name in PARTS.items():
        if any(getattr(candidate.seconds, part) for _, candidate in shown):
            table.add_row(name, *_cells([(getattr(one.seconds, part), one.seconds.total) for _, one in shown]))
    table.add_section()
    table.add_row("step", *_cells([(one.seconds.total, one.seconds.total) for _, one in shown]))
    return table


def _cells(pairs: Sequence[tuple[float, float]]) -> list[str]:
    return [text for seconds, total in pairs for text in (f"{seconds * 1e3:,.1f} ms", f"{seconds / total:.1%}")]


def _layout_table(answer: Estimate) -> Table:
    table = Table(title="layouts that fit: the fastest for each batch and precision of reduction", title_justify="left")
    for column in ("", "TP PP CP DP", "micro×acc"):
        table.add_column(column, no_wrap=True)
    for column in ("batch", "sums"):
        table.add_column(column, justify="right")
    table.add_column("recompute", no_wrap=True)
    for column in ("loss", "GB", "s", "k tok/s", "MFU", "hours", "node h"):
        table.add_column(column, justify="right", no_wrap=True)
    for candidate in (answer.stated, *answer.candidates):
        mark = "recipe" if candidate is answer.stated else "→" if candidate is answer.chosen else ""
        table.add_row(mark, *_layout_cells(answer, candidate))
        if candidate is answer.stated:
            table.add_section()
    return table


def _layout_cells(answer: Estimate, candidate: Candidate) -> list[str]:
    layout, cost = candidate.layout, answer.cost(candidate)
    return [
        f"{layout.tensor} {layout.pipeline} {layout.context} {layout.data}",
        f"{layout.micro_batch}×{layout.accumulation}",
        f"{layout.global_batch:,}",
        "fp32" if layout.reduce_bytes == 4 else "bf16",
        layout.recompute,
        f"{layout.loss_chunk_tokens:,}" if layout.loss_chunk_tokens else "",
        ("" if candidate.fits else "[red]![/] ") + f"{candidate.memory.total / 1e9:.1f}",
        f"{candidate.seconds.total:.3f}",
        f"{candidate.tokens_per_second / 1e3:,.0f}",
        f"{candidate.mfu:.1%}",
        f"{cost.hours:,.1f}",
        f"{cost.node_hours:,.0f}",
    ]


def _verdict(answer: Estimate) -> list[str]:
    errors, ours = answer.errors, answer.our_errors
    quality = (
        f"Calibrated on {errors.rows} published rows. A row that the fit has not seen is predicted with a mean error "
        f"of {errors.mean:.1%}; {errors.within_15_percent} of {errors.rows} are within 15 %, the worst is off by "
        f"{errors.worst:.0%}. Of these {ours.rows} are NeMo's, whose rates are used here: mean {ours.mean:.1%}, worst "
        f"{ours.worst:.1%} (cpt estimate … --rows; docs/estimate.md)."
    )
    gpu = answer.task.cluster.accelerator
    if gpu and not gpu.name.startswith("H100"):
        quality += f" All of them ran on H100, yours is {gpu.name}: expect larger errors."
    if not answer.chosen:
        return [quality, "[red]No layout that was tried fits into the GPU's memory.[/]"]
    same = [candidate for candidate in answer.candidates if not candidate.changes]
    lines = [quality]
    if gpu and not answer.stated.fits:
        needs = answer.stated.memory.total / 1e9
        lines.append(
            f"[red]The recipe does not fit as it stands[/]: it needs {needs:.1f} GB, the GPU has {gpu.memory_gb:g}."
        )
    lines.append(f"[bold]Recommended (→)[/]: {_gain(answer, answer.chosen)}.")
    if answer.chosen.changes and same:
        lines.append(f"Without any such change: {_gain(answer, same[-1])}.")
    return lines


def _gain(answer: Estimate, candidate: Candidate) -> str:
    layout = candidate.layout
    gain = candidate.tokens_per_second / answer.stated.tokens_per_second
    named = "; ".join(candidate.changes)
    changed = f"changes the optimisation: {named}" if named else "same optimisation as the recipe"
    engine = "; context parallelism needs Transformer Engine" if layout.context > 1 else ""
    return f"{gain:.2f} × the recipe's throughput, {candidate.mfu:.1%} MFU; {changed}{engine}"


def _batch_table(answer: Estimate) -> Table:
    layout = answer.stated.layout
    table = Table(
        title=f"global batches that divide, for the recipe's micro batch of {layout.micro_batch}", title_justify="left"
    )
    table.add_column("active nodes", justify="right")
    table.add_column("data parallel", justify="right")
    table.add_column(f"{layout.global_batch:,} divides")
    table.add_column("nearest that do", justify="right")
    for division in answer.divisions:
        nearest = [f"{size:,}" for size in (division.below, division.above) if size]
        table.add_row(
            str(division.nodes),
            str(division.data_parallel),
            "yes" if division.divides else "no",
            "" if division.divides else " or ".join(nearest),
        )
    return table


def _advice(answer: Estimate) -> list[str]:
    layout = answer.stated.layout
    nodes = ", ".join(map(str, answer.dividing_nodes[:8])) + ("…" if len(answer.dividing_nodes) > 8 else "")
    lines = [f"A global batch of {layout.global_batch:,} divides over {nodes} active nodes."]
    if not answer.saving or not answer.spares:
        return [
            *lines,
            f"No advice on saving and spares: cluster {answer.task.cluster.name} states no `reliability` or no "
            f"`filesystem_gb_per_second`.",
        ]
    saves, spares = answer.saving, answer.spares
    step = (answer.chosen or answer.stated).seconds.total
    every = max(1, round(saves.daly / step))
    return [
        *lines,
        f"[bold]Checkpoints[/]: {saves.checkpoint_bytes / 1e9:.1f} GB, {saves.save:.1f} s to save; the job fails every "
        f"{saves.between_failures / 3600:,.0f} h. Save every {saves.daly / 60:.0f} min (Daly; Young "
        f"{saves.young / 60:.0f} min), {every:,} iterations of the recommended layout; the recipe: "
        f"{answer.task.recipe.checkpoint.every_iterations:,}. Saves, work done again and restarts then cost "
        f"{saves.lost:.1%}, which the hours above include.",
        f"[bold]Spares[/]: {spares.expected_failures:.2f} failures are expected in this phase. With {spares.nodes} "
        f"spare node(s) the probability that more are down at once is {spares.risk:.1%}; without, "
        f"{spares.risk_without:.1%}. The cluster file has {answer.task.cluster.spare_nodes}.",
    ]
