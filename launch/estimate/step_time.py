"""From counts to seconds: the rates that real trainers reach, and where the time of a step goes."""

import math
from dataclasses import dataclass

from launch.estimate.arithmetic import Layout, Network, Work, work
from launch.estimate.communication import Machine, Traffic, Wire, traffic

MEMORY_EFFICIENCY = 0.87  # of the data sheet; a copy on an H100 reaches it (github.com/aigatech/vpbenchmarking)
NVLINK_EFFICIENCY = 0.8  # of one direction, for large rings inside a node


@dataclass(frozen=True)
class Kernels:
    """How well one trainer's kernels use a GPU."""

    matmul: float  # fraction of the peak that matrix products reach
    attention: float  # fraction of the peak that flash attention reaches, on the causal half
    activation_passes: float  # how often each activation is written and read
    layer_overhead: float  # seconds per layer and micro batch, forward and backward, that nothing hides


@dataclass(frozen=True)
class Fabric:
    """How well communication goes, and how much of it arithmetic hides; the same for all trainers."""

    network: float  # fraction of the adapters' bandwidth
    hidden: float  # fraction of the arithmetic beside which communication can run
    interference: float  # seconds that a second of hidden communication still costs
    tensor_exposed: float  # part of overlapped tensor-parallel communication that is waited for
    straggling: float  # relative loss per doubling of the nodes


@dataclass(frozen=True)
class Rates:
    """Everything that was fitted."""

    kernels: Kernels
    fabric: Fabric


@dataclass(frozen=True)
class Breakdown:
    """Seconds of one optimizer step by cause; they add up to `total`."""

    matmul: float
    attention: float
    activations: float  # element-wise kernels: memory bandwidth
    softmax: float  # logits and cross entropy: memory bandwidth
    gradients: float  # adding up, zeroing and checking gradients: memory bandwidth
    optimizer: float
    launch: float
    tensor: float  # exposed communication, as the three below
    context: float
    gather: float
    reduce: float
    bubble: float
    straggling: float

    @property
    def total(self) -> float:
        """Seconds of the step."""
        return sum(vars(self).values())


@dataclass(frozen=True)
class Counted:
    """A layout's counts on a machine, from which any rates give seconds."""

    layout: Layout
    machine: Machine
    work: Work
    traffic: Traffic


def count(network: Network, layout: Layout, machine: Machine) -> Counted:
    """Count once; `breakdown` may then be asked for many rates."""
    return Counted(layout, machine, work(network, layout, machine.gpus_per_node), traffic(network, layout, machine))


def breakdown(counted: Counted, rates: Rates) -> Breakdown:
    """Seconds of one step. Formulas and their limits: docs/estimate.md."""
    layout, machine, done, sent = counted.layout, counted.machine, counted.work, counted.traffic
    kernels, fabric = rates.kernels, rates.fabric
    memory = machine.memory_bandwidth * MEMORY_EFFICIENCY

    def wire(part: Wire) -> float:
        inside = part.nvlink_bytes / (machine.nvlink * NVLINK_EFFICIENCY)
        return inside + part.network_bytes / (machine.network * fabric.network) + part.latency

    matmul = machine.peak_flops * kernels.matmul
    attention = machine.peak_flops * kernels.attention
    passes = kernels.activation_passes / memory
    forward = (
        done.forward_matmul_flops / matmul
        + done.forward_attention_flops / attention
        + done.forward_activation_bytes * passes
        + kernels.layer_overhead * done.layers / 3
    )
    backward = (
        done.backward_matmul_flops / matmul
        + done.backward_attention_flops / attention
        + done.backward_activation_bytes * passes
        + kernels.layer_overhead * done.layers * 2 / 3
        + done.weight_gradient_bytes / memory
    )
    all_attention = (done.forward_attention_flops + done.backward_attention_flops) / attention
    tensor = wire(sent.tensor) * (fabric.tensor_exposed if layout.overlap_tensor else 1.0)
    context = _exposed(wire(sent.context), sent.context.calls, all_attention, fabric)
    softmax = done.logit_bytes / memory
    micro_batch = forward + backward + softmax + tensor + context

    hiding = 1.0 if layout.overlap_data else 0.0
    repeats = layout.accumulation if sent.every_micro_batch else 1
    gather = _exposed(wire(sent.gather_forward), sent.gather_forward.calls, forward * hiding, fabric)
    backwards = sent.gather_backward + sent.reduce
    reduce = _exposed(wire(backwards), backwards.calls, backward * hiding, fabric)

    many = layout.accumulation
    bubble = micro_batch * (layout.pipeline - 1) / layout.virtual_stages
    parts = {
        "matmul": many * (done.forward_matmul_flops + done.backward_matmul_flops) / matmul,
        "attention": many * all_attention,
        "activations": many * (done.forward_activation_bytes + done.backward_activation_bytes) * passes,
        "softmax": many * softmax,
        "gradients": many * done.weight_gradient_bytes / memory,
        "optimizer": done.step_bytes / memory,
        "launch": many * kernels.layer_overhead * done.layers,
        "tensor": many * tensor,
        "context": many * context,
        "gather": repeats * gather,
        "reduce": repeats * reduce,
        "bubble": bubble,
    }
    return Breakdown(**parts, straggling=fabric.straggling * _doublings(layout, machine) * sum(parts.values()))


def _exposed(seconds: float, calls: float, arithmetic: float, fabric: Fabric) -> float:
    """What communication of `seconds` adds beside `arithmetic`: one call that has nothing left to run beside, what
    does not fit, and what hiding the rest costs.
    """
    hidden = min(seconds * (1 - 1 / calls), fabric.hidden * arithmetic)
    return seconds - hidden + fabric.interference * hidden


def _doublings(layout: Layout, machine: Machine) -> float:
    nodes = -(-layout.gpus // machine.gpus_per_node)
    return math.log2(nodes)
