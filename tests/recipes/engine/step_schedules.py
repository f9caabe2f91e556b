"""Steps schedulers and prints their rates as JSON: ours for phases of recipes, NeMo's own for what they are given.

python step_schedules.py '{"ours": [[RECIPE, PHASE, ITERATIONS], …], "nemo": [[CLASS, {ARGUMENT: VALUE}], …]}'
"""

import json
import sys
from typing import Any

import torch

from recipes.engine.platform import prepare
from recipes.load import load_recipe
from recipes.schedule import phase_curve


def main(asked: dict[str, Any]) -> None:
    prepare()
    from nemo.lightning.pytorch import optim

    from recipes.engine.schedules import PhaseSchedule

    answers: dict[str, list[list[float]]] = {"ours": [], "resumed": [], "nemo": []}
    for name, number, iterations in asked["ours"]:
        module = PhaseSchedule(**phase_curve(load_recipe(name), number)._asdict())
        module.max_steps = 10**6  # as NeMo's strategy does with the trainer's
        answers["ours"].append(_rates(_scheduler(module, 1.0), iterations))
        half = _scheduler(module, 1.0)
        for _ in range(iterations // 2):
            _step(half)
        resumed = _scheduler(module, 1.0)
        resumed.load_state_dict(json.loads(json.dumps(half.state_dict())))
        answers["resumed"].append(_rates(resumed, iterations - iterations // 2))
    for name, arguments in asked["nemo"]:
        high = arguments.pop("max_lr")
        answers["nemo"].append(_rates(_scheduler(getattr(optim, name)(**arguments), high), arguments["max_steps"]))
    print(json.dumps(answers))


def _scheduler(module: Any, rate: float) -> Any:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=rate)
    return module.scheduler(None, optimizer)["lr_scheduler"]["scheduler"]


def _rates(scheduler: Any, iterations: int) -> list[float]:
    """What each of so many steps is taken with."""
    rates = []
    for _ in range(iterations):
        rates.append(scheduler.optimizer.param_groups[0]["lr"])
        _step(scheduler)
    return rates


def _step(scheduler: Any) -> None:
    scheduler.optimizer.step()
    scheduler.step()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
