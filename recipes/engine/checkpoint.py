"""Writing the checkpoints of a phase, and restoring the one that it starts from."""

import queue
from pathlib import Path
from typing import Any

import torch
from megatron.core.dist_checkpointing.strategies import filesystem_async
from nemo.lightning import AutoResume, RestoreConfig
from nemo.lightning.pytorch.callbacks import ModelCheckpoint

from recipes.checkpoints import NAME, Start, prune


class PhaseCheckpoint(ModelCheckpoint):
    """NeMo's ModelCheckpoint under our names (`recipes.checkpoints`): every n iterations, and at the end of the phase.

    Upstream's rotation keeps its list inside the checkpoint, under absolute paths; here the folder itself is the list.
    """

    def __init__(self, folder: Path, every_iterations: int, keep_last: int, iterations: int) -> None:
        super().__init__(
            dirpath=str(folder),
            filename=NAME.replace("{:07d}", "{step:07d}"),
            auto_insert_metric_name=False,
            monitor=None,
            save_last=False,
            save_top_k=-1,
            every_n_train_steps=every_iterations,
            save_optim_on_train_end=True,  # else the last checkpoint cannot be resumed or carried into the next phase
            always_save_context=False,
        )
        self.keep_last = keep_last
        self.iterations = iterations

    def _monitor_candidates(self, trainer: Any) -> dict[str, torch.Tensor]:
        """Upstream's "step" is the one NeMo logged at the start of the step: one too few."""
        return super()._monitor_candidates(trainer) | {"step": torch.tensor(trainer.global_step)}

    def _save_checkpoint(self, trainer: Any, filepath: str) -> None:
        self.always_save_context = trainer.global_step == self.iterations  # NeMo's own tools need it there
        super()._save_checkpoint(trainer, filepath)
        if trainer.is_global_zero:
            prune(Path(str(self.dirpath)), self.keep_last)
        torch.distributed.barrier()  # rank 0 removes the marker last; no rank may look for this checkpoint before

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        super().on_train_end(trainer, pl_module)
        if self._last_global_step_saved != trainer.global_step:
            self._save_topk_checkpoint(trainer, self._monitor_candidates(trainer))


def auto_resume(start: Start) -> AutoResume | None:
    """The NeMo object that restores `start`; None for random weights."""
    if start.path is None:
        return None
    if start.iteration:  # everything: weights, optimizer, schedule, consumed samples
        return AutoResume(resume_from_path=str(start.path))
    weights = RestoreConfig(
        path=str(start.path),
        load_model_state=True,
        load_optim_state=start.optimizer,
        load_artifacts=False,  # the tokenizer belongs to the mixture, and an imported model has no `context`
    )
    return AutoResume(restore_config=weights)


def save_without_manager() -> None:
    """Collect the writers' results in a plain queue.

    Upstream (dist_checkpointing/strategies/filesystem_async.py, `_get_write_results_queue`) starts a manager process,
    which imports torch again: 5 s per save and rank on two cores. Asynchronous saves alone need it, and
    `ckpt_async_save` is off in build.py.
    """
    filesystem_async._get_write_results_queue = queue.SimpleQueue
