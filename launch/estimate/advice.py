"""How often to save, how many nodes to hold in reserve, and which batches divide when nodes are lost."""

import math
from dataclasses import dataclass

CHECKPOINT_BYTES = 14  # per parameter: bf16 weight, fp32 weight, two fp32 moments
RISK = 0.01  # that more nodes are down at once than there are spares


@dataclass(frozen=True)
class Saving:
    """When to save, in seconds; `young` and `daly` count from the end of one save to the start of the next."""

    checkpoint_bytes: int
    save: float
    between_failures: float  # of the whole job
    young: float
    daly: float
    lost: float  # fraction of the time that saves, work done again and restarts cost, at Daly's interval


def saving(
    parameters: int, bytes_per_second: float, nodes: int, node_hours_between_failures: float, restart_minutes: float
) -> Saving:
    """When to save a checkpoint that training waits for.

    Young 1974: √(2 δ M). Daly 2006, higher order, for δ < 2 M: √(2 δ M) (1 + √(δ / 2M) / 3 + (δ / 2M) / 9) - δ, with δ
    the seconds of a save and M the mean time between failures of the job, that of a node divided by the nodes.
    """
    size = CHECKPOINT_BYTES * parameters
    save = size / bytes_per_second
    between = node_hours_between_failures * 3600 / nodes
    young = math.sqrt(2 * save * between)
    ratio = save / (2 * between)
    daly = young * (1 + math.sqrt(ratio) / 3 + ratio / 9) - save if ratio < 1 else between
    lost = save / (daly + save) + (daly / 2 + restart_minutes * 60) / between
    return Saving(size, save, between, young, daly, lost)


def expected_failures(nodes: int, hours: float, node_hours_between_failures: float) -> float:
    """Mean number of failures that stop the job."""
    return nodes * hours / node_hours_between_failures


def down_at_once(nodes: int, spares: int, node_hours_between_failures: float, repair_hours: float) -> float:
    """Probability that more than `spares` of `nodes + spares` fail before the first of them is repaired: the tail of a
    Poisson distribution with mean (nodes + spares) · repair time / time between failures.
    """
    mean = (nodes + spares) * repair_hours / node_hours_between_failures
    return 1 - sum(math.exp(-mean) * mean**failed / math.factorial(failed) for failed in range(spares + 1))


def spare_nodes(nodes: int, node_hours_between_failures: float, repair_hours: float) -> int:
    """The fewest spares with which more nodes than that are down with a probability of at most `RISK`."""
    spares = 0
    while down_at_once(nodes, spares, node_hours_between_failures, repair_hours) > RISK and spares < nodes:
        spares += 1
    return spares


@dataclass(frozen=True)
class Division:
    """Global batches that divide over some nodes: the largest up to the recipe's and the next."""

    nodes: int
    data_parallel: int
    divides: bool  # whether the recipe's own batch does
    below: int | None
    above: int


def divisions(
    nodes: int, gpus_per_node: int, model_parallel: int, micro_batch: int, global_batch: int, fewest: int
) -> list[Division]:
    """For `nodes` down to `fewest`; node counts over which the model itself does not divide are left out."""
    found = []
    for left in range(nodes, fewest - 1, -1):
        data, rest = divmod(left * gpus_per_node, model_parallel)
        if rest or not data:
            continue
        unit = data * micro_batch
        below = global_batch // unit * unit
        found.append(Division(left, data, below == global_batch, below or None, below + unit))
    return found


def dividing_nodes(
    nodes: int, gpus_per_node: int, model_parallel: int, micro_batch: int, global_batch: int
) -> list[int]:
    """Node counts up to `nodes` over which the global batch divides, largest first."""
    every = divisions(nodes, gpus_per_node, model_parallel, micro_batch, global_batch, 1)
    return [division.nodes for division in every if division.divides]
