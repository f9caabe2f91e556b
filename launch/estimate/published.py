"""The published measurements in published.yaml, each as a layout on a machine with the tokens per second it reached."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from launch.estimate.arithmetic import Layout, Network
from launch.estimate.communication import Machine

PATH = Path(__file__).parent / "published.yaml"


@dataclass(frozen=True)
class Row:
    """One measurement."""

    source: str
    trainer: str
    network_name: str
    network: Network
    layout: Layout
    machine: Machine
    tokens_per_second: float  # per GPU

    @property
    def name(self) -> str:
        """Short, for tables."""
        layout = self.layout
        split = "".join(
            f" {letter}{size}"
            for letter, size in (("TP", layout.tensor), ("PP", layout.pipeline), ("CP", layout.context))
            if size > 1
        )
        again = ", recompute" if layout.recompute == "full" else ""
        return (
            f"{self.network_name} {layout.sequence_length} × {layout.micro_batch} × {layout.accumulation}"
            f" on {layout.gpus}{split} {layout.sharding}{again}"
        )


def published() -> list[Row]:
    """All rows to calibrate on, in the order of the file."""
    content = _content()
    return [row for source in content["sources"] for row in _rows(source, content)]


def blind() -> Row:
    """The run that must be predicted without having been seen."""
    content = _content()
    (row,) = _rows(content["blind"], content)
    return row


def _content() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(PATH.read_text(encoding="utf-8"))
    return content


def _rows(source: dict[str, Any], content: dict[str, Any]) -> list[Row]:
    networks = {name: Network(**fields) for name, fields in content["networks"].items()}
    machines = {name: Machine.of(**fields) for name, fields in content["machines"].items()}
    return [
        _row(source, dict(zip(source["columns"], values, strict=True)), networks, machines) for values in source["rows"]
    ]


def _row(
    source: dict[str, Any], values: dict[str, Any], networks: dict[str, Network], machines: dict[str, Machine]
) -> Row:
    fields = source["layout"] | values
    name, measured = fields.pop("network"), fields.pop("measured")
    fields.pop("mfu", None)  # theirs; the tests hold what was measured against it
    layout = Layout(**fields)
    return Row(
        source=source["name"],
        trainer=source["trainer"],
        network_name=name,
        network=networks[name],
        layout=layout,
        machine=machines[source["machine"]],
        tokens_per_second=_tokens_per_second(source["measured"], measured, layout),
    )


def _tokens_per_second(measured: str, value: float, layout: Layout) -> float:
    if measured == "tokens_per_second_per_gpu":
        return value
    if measured == "seconds_per_step":
        return layout.tokens_per_gpu / value
    assert measured == "samples_per_second", measured
    return value * layout.sequence_length / layout.gpus
