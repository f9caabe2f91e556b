"""The lines that training logs, read back: one step each, over all phases."""

import json
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from recipes.errors import UserError


class Step(BaseModel):
    """One logged optimizer step. Loss in nats per token; tokens counted in the phase and over all phases."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    phase: int
    iteration: int
    tokens: int
    tokens_total: int
    loss: float
    tokens_per_second: float | None = None


def read_metrics(path: Path) -> list[Step]:
    """Every step, in order; a step that was trained twice, because a job was resumed, counts as it was the last time.

    Raises:
        UserError: a line is not a step. A last line without its end (a killed job) is left out.
    """
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    whole = lines[:-1]  # what follows the last line break is empty, or was cut off
    steps = [_step(line, f"{path}, line {number}") for number, line in enumerate(whole, 1) if line.strip()]
    latest = {(step.phase, step.iteration): step for step in steps}
    return [latest[key] for key in sorted(latest)]


def running_mean(values: Sequence[float], width: int) -> list[float]:
    """Mean of the last `width` values (fewer at the start), for a readable curve."""
    return [sum(part) / len(part) for part in (values[max(0, i + 1 - width) : i + 1] for i in range(len(values)))]


def _step(line: str, place: str) -> Step:
    try:
        return Step.model_validate(json.loads(line))
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{place}: field `{'.'.join(map(str, first['loc']))}`: {first['msg']}.") from error
    except ValueError as error:
        raise UserError(f"{place}: not valid JSON ({error}); remove the line.") from error
