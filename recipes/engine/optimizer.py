"""NeMo's Megatron optimizer that makes sure of its numbers: loading a state brings the saved ones along."""

from collections.abc import Sequence
from typing import Any

from megatron.core.optimizer import OptimizerConfig
from nemo.lightning.pytorch.optim import MegatronOptimizerModule


class PhaseOptimizer(MegatronOptimizerModule):
    """Before every step, Adam must have the rate, betas, epsilon and weight decay of this phase's recipe."""

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        check_groups(optimizer.param_groups, self.config, self.lr_scheduler.curve.at(trainer.global_step))


def check_groups(groups: Sequence[dict[str, Any]], config: OptimizerConfig, rate: float) -> None:
    """Compare parameter groups with what they must have; `pre_wd_mult` is 1 for matrices and 0 for all else.

    Raises:
        RuntimeError: the first difference.
    """
    for number, group in enumerate(groups):
        expected = {
            "betas": (config.adam_beta1, config.adam_beta2),
            "eps": config.adam_eps,
            "weight_decay": config.weight_decay * group["pre_wd_mult"],
            "lr": rate,
        }
        for name, value in expected.items():
            found = tuple(group[name]) if name == "betas" else group[name]
            if found != value:
                raise RuntimeError(
                    f"Adam has {name} {found} in parameter group {number} where the recipe says {value}: a loaded "
                    f"optimizer state has overwritten it"
                )
