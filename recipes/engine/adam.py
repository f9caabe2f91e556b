"""Adam for machines without Transformer Engine and Apex, with `step` in the parameter group as theirs have it.

torch's AdamW keeps `step` as one tensor per parameter, which Megatron-Core's sharded optimizer state refuses.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch


class GroupStepAdam(torch.optim.Optimizer):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019); the arithmetic is torch's fused kernel.

    State per parameter: `exp_avg`, `exp_avg_sq`, of the parameter's shape and dtype. Group: `step`, a plain integer.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        weight_decay: float = 0.0,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        adam_w_mode: bool = True,  # Megatron-Core passes it to Apex's and Transformer Engine's Adam
    ) -> None:
        if not adam_w_mode:
            raise ValueError("GroupStepAdam has decoupled weight decay only")
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "betas": betas, "eps": eps})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            group["step"] = group.get("step", 0) + 1
            self._step_group(group)
        return loss

    def _step_group(self, group: dict[str, Any]) -> None:
        parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
        if not parameters:
            return
        states = [self._state_of(parameter) for parameter in parameters]
        step = torch.full((), float(group["step"]), device=parameters[0].device)  # filled there: nobody waits for it
        torch._fused_adamw_(
            parameters,
            [parameter.grad for parameter in parameters],
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            [step] * len(parameters),
            lr=group["lr"],
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            amsgrad=False,
            maximize=False,
        )

    def _state_of(self, parameter: torch.Tensor) -> dict[str, torch.Tensor]:
        state = self.state[parameter]
        if not state:
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        return state


def install() -> None:
    """Put `GroupStepAdam` where Megatron-Core looks for Apex's (`optimizer/__init__.py`, `distrib_optimizer.py`)."""
    from megatron.core import optimizer
    from megatron.core.optimizer import distrib_optimizer

    optimizer.Adam = GroupStepAdam
    optimizer.USING_PYTORCH_OPTIMIZER = False
    distrib_optimizer.Adam = GroupStepAdam
    distrib_optimizer.HAVE_APEX_OR_TE = True
    distrib_optimizer.USING_APEX_OPTIMIZER = True
