"""The learning rates of `recipes.schedule` as a NeMo scheduler."""

from typing import Any, Literal

from nemo.lightning.pytorch.optim.base import LRSchedulerModule
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from recipes.schedule import Curve


class CurveScheduler(LRScheduler):
    """Gives every parameter group `curve.at(iteration)`. Its state is the iteration: rates are never restored."""

    def __init__(self, optimizer: Optimizer, curve: Curve) -> None:
        self.curve = curve
        super().__init__(optimizer)

    def get_lr(self) -> list[Any]:
        return [self.curve.at(self.last_epoch) for _ in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        return {"last_epoch": self.last_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.last_epoch = state_dict["last_epoch"]
        self._last_lr = self.get_lr()
        for group, rate in zip(self.optimizer.param_groups, self._last_lr, strict=True):
            group["lr"] = rate


class PhaseSchedule(LRSchedulerModule):
    """The schedule of one phase; the arguments are the fields of `recipes.schedule.Curve`.

    One class for all kinds: NeMo's own know neither offsets nor schedules longer than the phase, because the strategy
    overwrites their `max_steps` with the trainer's.
    """

    def __init__(
        self,
        kind: Literal["cosine", "constant", "wsd"],
        max_lr: float,
        min_lr: float,
        warmup: int,
        decay: int,
        length: int,
        offset: int,
    ) -> None:
        super().__init__()
        self.curve = Curve(kind, max_lr, min_lr, warmup, decay, length, offset)

    def scheduler(self, model: Any, optimizers: Any) -> Any:
        steps = {"scheduler": CurveScheduler(optimizers, self.curve), "interval": "step", "frequency": 1}
        return {"optimizer": optimizers, "lr_scheduler": steps, "monitor": "val_loss"}
