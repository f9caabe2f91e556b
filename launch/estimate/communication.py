"""What one optimizer step sends: seconds of collectives at the speed of the wire, before anything hides them."""

import math
from dataclasses import dataclass

from launch.estimate.arithmetic import Layout, Network

# Seconds per step of a ring and per call: NCCL's own table for rings with the protocol Simple (src/graph/tuning.cc).
NVLINK_HOP = 3.4e-6
NETWORK_HOP = 14e-6
CALL = 8.4e-6

BF16 = 2  # bytes


@dataclass(frozen=True)
class Machine:
    """Hardware figures, all per GPU but the network; bytes and FLOP per second."""

    gpus_per_node: int
    peak_flops: float  # dense bf16
    memory_bandwidth: float
    nvlink: float  # one direction
    network: float  # of a node, one direction, all adapters together

    @classmethod
    def of(
        cls, gpus_per_node: int, peak_bf16_tflops: float, memory_gbs: float, nvlink_gbs: float, network_gbps: float
    ) -> "Machine":
        """From the units of data sheets: TFLOP/s, GB/s, and Gbit/s for the network of a node."""
        return cls(gpus_per_node, peak_bf16_tflops * 1e12, memory_gbs * 1e9, nvlink_gbs * 1e9, network_gbps * 1e9 / 8)


@dataclass(frozen=True)
class Wire:
    """Bytes that pass the slowest link of a ring, in how many calls, and what these cost whatever their size."""

    nvlink_bytes: float = 0.0
    network_bytes: float = 0.0  # as if the node's whole bandwidth carried them
    latency: float = 0.0  # seconds
    calls: float = 1.0

    def __add__(self, other: "Wire") -> "Wire":
        return Wire(
            self.nvlink_bytes + other.nvlink_bytes,
            self.network_bytes + other.network_bytes,
            self.latency + other.latency,
            max(self.calls, other.calls),
        )


@dataclass(frozen=True)
class Traffic:
    """What one GPU waits for. Data-parallel parts: once per step, or per micro batch where weights are sharded too."""

    gather_forward: Wire  # weights, before they are used
    gather_backward: Wire  # weights again, where they are not kept
    reduce: Wire  # gradients
    every_micro_batch: bool
    tensor: Wire  # per micro batch
    context: Wire  # per micro batch


def ring(size: float, ranks: int, per_node: int, calls: float, machine: Machine) -> Wire:
    """One pass round a ring (all-gather or reduce-scatter) over `size` bytes in `calls` calls.

    `per_node` of the `ranks` sit in one node; the other GPUs of the node run rings of their own beside this one.
    Time of NCCL's ring: size · (n - 1)/n / bandwidth, plus hops inside nodes and between them.
    """
    if ranks == 1:
        return Wire()
    nodes = math.ceil(ranks / per_node)
    moved = size * (ranks - 1) / ranks
    hops = (ranks - nodes) * NVLINK_HOP + (nodes - 1) * NETWORK_HOP + CALL
    if nodes == 1:
        return Wire(nvlink_bytes=moved, latency=calls * hops, calls=calls)
    return Wire(network_bytes=moved * machine.gpus_per_node / per_node, latency=calls * hops, calls=calls)


def traffic(network: Network, layout: Layout, machine: Machine) -> Traffic:
    """Count what the step sends, for the sharding of the layout.

    `optimizer` is Megatron-Core's distributed optimizer (ZeRO-1), in its buckets of 40 M parameters or 1 M per rank,
    whichever is more; the others are PyTorch's FSDP, a layer at a time.
    """
    parameters = network.parameters / layout.tensor / layout.pipeline
    ranks = layout.data * layout.context
    per_node = max(1, min(ranks, machine.gpus_per_node // layout.tensor))
    if layout.sharding == "hybrid":
        gather, reduce, again = _hybrid(layout, parameters, network.layers, machine)
    else:
        megatron = layout.sharding == "optimizer"
        calls = math.ceil(parameters / max(40e6, 1e6 * ranks)) if megatron else network.layers + 1
        gather = ring(BF16 * parameters, ranks, per_node, calls, machine)
        reduce = ring(layout.reduce_bytes * parameters, ranks, per_node, calls, machine)
        again = gather if layout.sharding == "full" else Wire()
    return Traffic(
        gather_forward=gather,
        gather_backward=again,
        reduce=reduce,
        every_micro_batch=layout.sharding != "optimizer",
        tensor=_tensor(network, layout, machine),
        context=_context(network, layout, machine),
    )


def _hybrid(layout: Layout, parameters: float, layers: int, machine: Machine) -> tuple[Wire, Wire, Wire]:
    """Sharded inside the node, copied between nodes: rings in the node, then all nodes add up each shard."""
    inside = min(layout.data, machine.gpus_per_node)
    gather = ring(BF16 * parameters, inside, inside, layers + 1, machine)
    between = ring(layout.reduce_bytes * parameters / inside, layout.data // inside, 1, layers + 1, machine)
    reduce = ring(layout.reduce_bytes * parameters, inside, inside, layers + 1, machine) + between + between
    return gather, reduce, gather


def _tensor(network: Network, layout: Layout, machine: Machine) -> Wire:
    """With sequence parallelism: per layer two all-gathers and two reduce-scatters forward, the same and two more
    gathers backward, of one bf16 activation each (Korthikanti et al. 2022, arXiv 2205.05198); layers recomputed in
    full repeat the forward ones.
    """
    tokens = layout.micro_batch * layout.sequence_length / layout.context
    calls = (10 + (4 if layout.recompute == "full" else 0)) * network.layers / layout.pipeline
    size = BF16 * tokens * network.hidden
    return ring(size * calls, layout.tensor, min(layout.tensor, machine.gpus_per_node), calls, machine)


def _context(network: Network, layout: Layout, machine: Machine) -> Wire:
    """Keys and values go round the context-parallel ring forward, and with their gradients backward."""
    tokens = layout.micro_batch * layout.sequence_length
    calls = 3.0 * network.layers / layout.pipeline
    size = 2 * BF16 * tokens * network.key_value_heads * network.head_dim / layout.tensor
    per_node = max(1, min(layout.context, machine.gpus_per_node // layout.tensor))
    return ring(size * calls, layout.context, per_node, calls, machine)
