"""What training prints: how MFU is counted, once, and one line per logged step."""

from typing import Any

from recipes.engine.phase_numbers import PhaseNumbers

_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


def formula(numbers: PhaseNumbers) -> str:
    """How the MFU of the phase is counted, for a cluster that names its accelerator."""
    assert numbers.accelerator and numbers.peak_flops
    length, note = "sequence_length", ""
    if numbers.attention_length:
        length = f"{numbers.attention_length:,.0f} tokens that attention reaches over inside documents"
    elif numbers.document_masking:
        note = " Attention inside documents costs less: the true MFU is lower."
    return (
        f"phase {numbers.phase} {numbers.name}: MFU = tokens/s × {numbers.flops_per_token / 1e9:,.3g} GFLOP per token "
        f"/ {numbers.peak_flops / 1e12:,.0f} TFLOP/s (dense bf16, {numbers.ranks} × {numbers.accelerator.name}). "
        f"FLOP per token: 6 for each weight of a matrix product, and causal attention at half of the square, "
        f"6 × layers × heads × head_dim × {length}.{note}"
    )


def sentence(numbers: PhaseNumbers, line: dict[str, Any]) -> str:
    """A line of `metrics.jsonl` for people; fields that are None or missing are left out."""
    width = len(str(numbers.iterations))
    parts = [
        f"phase {numbers.phase} {numbers.name}",
        f"{line['iteration']:>{width}}/{numbers.iterations}",
        f"{short(line['tokens_total'])} tokens",
        f"loss {line['loss']:.4f}" if line["loss"] is not None else "",
        f"lr {line['lr']:.2e}",
        f"norm {line['grad_norm']:.2f}" if line["grad_norm"] is not None else "",
        f"{short(line['tokens_per_second'])} tokens/s",
        f"MFU {line['mfu']:.1%}" if "mfu" in line else "",
        f"{line['peak_memory_gb']:.1f} GB",
        _left(line),
    ]
    return "  ".join(filter(None, parts))


def _left(line: dict[str, Any]) -> str:
    phase, run = line.get("seconds_left", 0.0), line.get("seconds_left_run", 0.0)
    parts = [f"left {duration(phase)}" if phase else "", f"run ~{duration(run)}" if run > phase else ""]
    return ", ".join(filter(None, parts))


def short(count: float) -> str:
    """1,234,567 exactly, and from ten millions on with four digits: 12.35 M, 1.235 T."""
    for unit, size in (("T", 1e12), ("B", 1e9), ("M", 1e6)):
        if count >= max(size, 1e7):
            return f"{count / size:.4g} {unit}"
    return f"{count:,.0f}"


def duration(seconds: float) -> str:
    """In its two largest units: 3 d 4 h, 2 h 10 min, 45 s."""
    left, parts = round(seconds), list[str]()
    for unit, size in _UNITS:
        if left >= size or parts or unit == "s":
            parts.append(f"{left // size} {unit}")
        left %= size
    return " ".join(parts[:2])
