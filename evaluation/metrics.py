"""The lines that training logs, read back: one step or one validation each, over all phases."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from recipes.errors import UserError


class Step(BaseModel):
    """One logged optimizer step. Loss in nats per token; tokens counted in the phase and over all phases."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    phase: int
    iteration: int
    tokens: int
    tokens_total: int
    loss: Annotated[float, BeforeValidator(lambda loss: math.nan if loss is None else loss)]  # JSON has no NaN
    skipped: str | None = None  # why its batch was
    tokens_per_second: float | None = None


class HeldOutLoss(BaseModel):
    """One validation: loss by domain on held-out text, nats per token; None where it was not a number."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    phase: int
    iteration: int
    tokens_total: int
    validation: dict[str, float | None]


Line = TypeVar("Line", Step, HeldOutLoss)


def read_metrics(path: Path) -> tuple[list[Step], list[HeldOutLoss]]:
    """Every step, and every validation, in order; what was done twice, because a job was resumed, counts as it was the
    last time.

    A batch that was skipped is no step.

    Raises:
        UserError: a line is neither. A last line without its end (a killed job) is left out.
    """
    if not path.is_file():
        return [], []
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    whole = lines[:-1]  # what follows the last line break is empty, or was cut off
    found = [_parsed(line, f"{path}, line {number}") for number, line in enumerate(whole, 1) if line.strip()]
    steps = _latest([line for line in found if isinstance(line, Step)])
    validations = _latest([line for line in found if isinstance(line, HeldOutLoss)])
    return [step for step in steps if not step.skipped], validations


def running_mean(values: Sequence[float], width: int) -> list[float]:
    """Mean of the last `width` values (fewer at the start), for a readable curve."""
    return [sum(part) / len(part) for part in (values[max(0, i + 1 - width) : i + 1] for i in range(len(values)))]


def _latest(lines: Sequence[Line]) -> list[Line]:
    latest = {(line.phase, line.iteration): line for line in lines}
    return [latest[key] for key in sorted(latest)]


def _parsed(line: str, place: str) -> Step | HeldOutLoss:
    try:
        content: Any = json.loads(line)
        kind = HeldOutLoss if isinstance(content, dict) and "validation" in content else Step
        return kind.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{place}: field `{'.'.join(map(str, first['loc']))}`: {first['msg']}.") from error
    except ValueError as error:
        raise UserError(f"{place}: not valid JSON ({error}); remove the line.") from error
