"""Fits the rates to the published rows and says how well rows are predicted that the fit has not seen.

python -m launch.estimate.calibration        # a few minutes; writes calibrated.json
"""

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from launch.estimate.published import Row, published
from launch.estimate.step_time import Counted, Fabric, Kernels, Rates, breakdown, count
from recipes.artifacts import read_json, write_json
from recipes.terminal import run_command

if TYPE_CHECKING:
    import numpy as np

PATH = Path(__file__).parent / "calibrated.json"
OURS = "nemo"  # the trainer whose kernels this project runs

# Bounds and start of the search. A large bf16 product reaches 773 TFLOP/s, 78 % of the peak, on an H100 of the
# accelerated partition of MareNostrum 5; no trainer can do better.
KERNELS_LOW = Kernels(matmul=0.3, attention=0.1, activation_passes=0.5, layer_overhead=0.0)
KERNELS_START = Kernels(matmul=0.65, attention=0.3, activation_passes=1.5, layer_overhead=1e-3)
KERNELS_HIGH = Kernels(matmul=0.78, attention=0.95, activation_passes=12.0, layer_overhead=5e-3)
FABRIC_LOW = Fabric(network=0.2, hidden=0.0, interference=0.0, tensor_exposed=0.0, straggling=0.0)
FABRIC_START = Fabric(network=0.8, hidden=0.8, interference=0.2, tensor_exposed=0.5, straggling=0.005)
FABRIC_HIGH = Fabric(network=1.0, hidden=1.0, interference=1.0, tensor_exposed=1.0, straggling=0.1)


@dataclass(frozen=True)
class Calibration:
    """Fitted rates per trainer, and the relative error of tokens/s for each published row, predicted without it."""

    rates: dict[str, Rates]
    left_out_errors: list[float]  # one row left out at a time
    left_out_model_errors: list[float]  # all rows of the same network left out with it

    @property
    def ours(self) -> Rates:
        """The rates that a recipe is estimated with."""
        return self.rates[OURS]

    @property
    def our_left_out_errors(self) -> list[float]:
        """Of `left_out_errors`, those of the trainer whose rates are `ours`."""
        errors = zip(published(), self.left_out_errors, strict=True)
        return [error for row, error in errors if row.trainer == OURS]


@dataclass(frozen=True)
class Errors:
    """Absolute relative errors in one line."""

    rows: int
    mean: float
    worst: float
    within_15_percent: int

    @classmethod
    def of(cls, errors: Sequence[float]) -> "Errors":
        """Summarize."""
        sizes = [abs(error) for error in errors]
        return cls(len(sizes), sum(sizes) / len(sizes), max(sizes), sum(size <= 0.15 for size in sizes))


def calibration() -> Calibration:
    """The committed one, from calibrated.json."""
    content = read_json(PATH)
    fabric = Fabric(**content["fabric"])
    rates = {trainer: Rates(Kernels(**fields), fabric) for trainer, fields in content["kernels"].items()}
    return Calibration(rates, content["left_out_errors"], content["left_out_model_errors"])


def tokens_per_second(counted: Counted, rates: Rates) -> float:
    """Per GPU."""
    return counted.layout.tokens_per_gpu / breakdown(counted, rates).total


def fit(rows: Sequence[Row], start: dict[str, Rates] | None = None) -> dict[str, Rates]:
    """Rates per trainer that predict `rows` best: least squares of log(tokens/s), with a soft knee at 5 % (scipy's
    soft_l1) so that single odd measurements do not lead.
    """
    import numpy as np
    from scipy.optimize import least_squares  # type: ignore[import-untyped]

    trainers = sorted({row.trainer for row in rows})
    counts = [count(row.network, row.layout, row.machine) for row in rows]
    measured = np.log([row.tokens_per_second for row in rows])
    low = _flat([KERNELS_LOW] * len(trainers), FABRIC_LOW)
    high = _flat([KERNELS_HIGH] * len(trainers), FABRIC_HIGH)
    first = _flat([KERNELS_START] * len(trainers), FABRIC_START)
    if start:
        first = _flat([start[trainer].kernels for trainer in trainers], start[trainers[0]].fabric)

    def residuals(scaled: "np.ndarray") -> "np.ndarray":
        rates = _rates(low + scaled * (high - low), trainers)
        predicted = [tokens_per_second(*pair) for pair in zip(counts, (rates[r.trainer] for r in rows), strict=True)]
        return np.log(predicted) - measured

    inside = np.clip((first - low) / (high - low), 1e-6, 1 - 1e-6)
    solved = least_squares(residuals, inside, bounds=(0, 1), loss="soft_l1", f_scale=0.05)
    return _rates(low + solved.x * (high - low), trainers)


def left_out_errors(rows: Sequence[Row], left_out: Sequence[int], start: dict[str, Rates]) -> list[float]:
    """Relative errors of the tokens/s of some rows, by indices, predicted by a fit to all others."""
    rates = fit([row for index, row in enumerate(rows) if index not in left_out], start)
    unseen = [rows[index] for index in left_out]
    counts = [count(row.network, row.layout, row.machine) for row in unseen]
    return [
        tokens_per_second(counted, rates[row.trainer]) / row.tokens_per_second - 1
        for counted, row in zip(counts, unseen, strict=True)
    ]


def _flat(kernels: Sequence[Kernels], fabric: Fabric) -> "np.ndarray":
    import numpy as np

    parts: list[Kernels | Fabric] = [*kernels, fabric]
    return np.array([value for part in parts for value in astuple(part)])


def _rates(values: "np.ndarray", trainers: Sequence[str]) -> dict[str, Rates]:
    each = len(astuple(KERNELS_LOW))
    fabric = Fabric(*map(float, values[each * len(trainers) :]))
    kernels = [Kernels(*map(float, values[each * i : each * (i + 1)])) for i in range(len(trainers))]
    return {trainer: Rates(own, fabric) for trainer, own in zip(trainers, kernels, strict=True)}


def main() -> None:
    """Fit, leave each row out once, and write calibrated.json."""
    from rich.progress import track

    rows = published()
    rates = fit(rows)
    errors = [left_out_errors(rows, [index], rates)[0] for index in track(range(len(rows)), "leaving rows out")]
    model_errors: dict[int, float] = {}
    for network in track({row.network_name for row in rows}, "leaving models out"):
        indices = [index for index, row in enumerate(rows) if row.network_name == network]
        model_errors |= dict(zip(indices, left_out_errors(rows, indices, rates), strict=True))
    write_json(
        PATH,
        {
            "command": "python -m launch.estimate.calibration",
            "rows": len(rows),
            "fabric": {name: round(value, 6) for name, value in vars(rates[OURS].fabric).items()},
            "kernels": {
                trainer: {name: round(value, 6) for name, value in vars(fitted.kernels).items()}
                for trainer, fitted in rates.items()
            },
            "left_out_errors": [round(error, 4) for error in errors],
            "left_out_model_errors": [round(model_errors[index], 4) for index in range(len(rows))],
        },
    )


if __name__ == "__main__":
    run_command(main)
