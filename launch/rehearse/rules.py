"""What a phase's parallelism must divide: one sentence for every rule that is broken, not for the first alone."""

from collections.abc import Callable

from recipes.activations import padded_vocabulary
from recipes.cluster import Cluster, batch_identity, check_context
from recipes.schema import Phase
from recipes.shape import Qwen3Shape


def broken_rules(phase: Phase, shape: Qwen3Shape, cluster: Cluster) -> list[str]:
    """Why `phase` cannot run on all ranks of `cluster`; empty if it can."""
    broken = []
    checks: list[Callable[[], object]] = [
        lambda: check_context(phase, bool(cluster.gpus_per_node)),
        lambda: batch_identity(phase, cluster.world_size),
    ]
    for check in checks:
        try:
            check()
        except ValueError as error:
            broken.append(str(error).removeprefix(f"phase {phase.name}: "))
    tensor, pipeline, context = phase.tensor_parallel, phase.pipeline_parallel, phase.context_parallel
    # Heads stay whole. Sequence parallelism, which goes with tensor parallelism, cuts sequences; context parallelism
    # cuts them into two pieces a rank, an early and a late one, so that ranks have equal work under a causal mask.
    rules = [
        ("num_attention_heads", shape.num_attention_heads, "tensor_parallel", tensor),
        ("num_key_value_heads", shape.num_key_value_heads, "tensor_parallel", tensor),
        ("intermediate_size", shape.intermediate_size, "tensor_parallel", tensor),
        ("the padded vocabulary", padded_vocabulary(shape), "tensor_parallel", tensor),
        ("num_hidden_layers", shape.num_hidden_layers, "pipeline_parallel", pipeline),
        ("sequence_length", phase.sequence_length, "2 × context_parallel", 2 * context if context > 1 else 1),
        ("sequence_length", phase.sequence_length, "tensor_parallel × context_parallel", tensor * context),
    ]
    for what, size, parts, number in rules:
        if size % number:
            broken.append(f"{what} ({size:,}) is not a multiple of {parts} ({number}); {_largest(size, number)}")
    return broken


def _largest(size: int, number: int) -> str:
    return f"the largest below that divides is {next(part for part in range(number, 0, -1) if size % part == 0)}"
