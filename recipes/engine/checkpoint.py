"""Writing the checkpoints of a phase, and restoring the one that it starts from."""

import contextlib
import multiprocessing
import queue
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from megatron.core.dist_checkpointing.strategies import filesystem_async
from nemo.lightning import AutoResume, RestoreConfig
from nemo.lightning.pytorch.callbacks import ModelCheckpoint
from torch.distributed.checkpoint.api import CheckpointException

from recipes.attempts import Attempt
from recipes.checkpoints import NAME, Start, digests_of_rank, note_validation, prune, publish, writing_name
from recipes.engine.validation import Validation
from recipes.errors import UserError
from recipes.processes import die_with_parent
from recipes.schema import Checkpoint


class PhaseCheckpoint(ModelCheckpoint):
    """NeMo's ModelCheckpoint under our names (`recipes.checkpoints`): every n iterations, and at the end of the phase.

    Upstream writes under the final name with a marker beside it, and keeps the list for its rotation inside the
    checkpoint; here a checkpoint gets its name when it is whole, and the folder itself is the list.

    Attributes:
        attempt: the start of the run that this process belongs to.
        policy: which checkpoints stay.
        validation: what knows the loss of a checkpoint on held-out text; None if nothing does.
    """

    attempt: Attempt
    policy: Checkpoint
    validation: Validation | None = None

    def __init__(self, folder: Path, every_iterations: int, iterations: int) -> None:
        super().__init__(
            dirpath=str(folder),
            filename=NAME.replace("{:07d}", "{step:07d}"),
            auto_insert_metric_name=False,
            enable_version_counter=False,  # an older one of the same name gives way
            monitor=None,
            save_last=False,
            save_top_k=-1,
            every_n_train_steps=every_iterations,
            save_optim_on_train_end=True,  # else the last checkpoint cannot be resumed or carried into the next phase
            always_save_context=False,
        )
        self.iterations = iterations

    def _monitor_candidates(self, trainer: Any) -> dict[str, torch.Tensor]:
        """Upstream's "step" is the one NeMo logged at the start of the step: one too few."""
        return super()._monitor_candidates(trainer) | {"step": torch.tensor(trainer.global_step)}

    @staticmethod
    def set_checkpoint_unfinished_marker(checkpoint_path: str | Path, barrier_after: bool = False) -> None:
        """No marker: the name says that it is unfinished."""

    def _save_checkpoint(self, trainer: Any, filepath: str) -> None:
        self.always_save_context = trainer.global_step == self.iterations  # NeMo's own tools need it there
        checkpoint = Path(str(self.dirpath)) / NAME.format(trainer.global_step)
        written = writing_name(checkpoint, self.attempt.number)
        with _explained(checkpoint, self.attempt, trainer.is_global_zero):
            super()._save_checkpoint(trainer, str(written))
            if trainer.is_global_zero and (losses := self._losses(trainer.global_step)):
                note_validation(written, *losses)
            digests: list[Any] = [None] * trainer.world_size
            torch.distributed.all_gather_object(digests, digests_of_rank(written, trainer.global_rank))
            if trainer.is_global_zero:
                self.attempt.check()
                publish(written, checkpoint, digests)
                prune(checkpoint.parent, self.policy)
        torch.distributed.barrier()  # no rank may look for this checkpoint before it has its name

    def _losses(self, step: int) -> tuple[float, dict[str, float]] | None:
        """Validated loss of the model after `step` iterations: the mean, and by domain."""
        latest = self.validation.latest if self.validation else None
        return latest[1:] if latest and latest[0] == step else None

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        super().on_train_end(trainer, pl_module)
        if self._last_global_step_saved != trainer.global_step:
            self._save_topk_checkpoint(trainer, self._monitor_candidates(trainer))


@contextlib.contextmanager
def _explained(checkpoint: Path, attempt: Attempt, is_first: bool) -> Iterator[None]:
    """Turn what keeps a checkpoint from being written into one sentence; the ones before it are not touched."""
    try:
        yield
    except (OSError, RuntimeError, CheckpointException) as error:
        if isinstance(error, RuntimeError) and not _of_a_file(error):
            raise  # another rank is gone
        if is_first:
            attempt.check()  # a newer start of the run removes what an older one is writing
        raise UserError(
            f"{checkpoint}: this checkpoint could not be written ({_reason(error)}); the one before it is still there: "
            f"remove the cause and start again."
        ) from error


def _of_a_file(error: BaseException) -> bool:
    """Whether it came from torch's writer of files (caffe2/serialize/inline_container.cc), which loses the reason."""
    return "inline_container" in str(error) or "PytorchStreamWriter" in str(error)


def _reason(error: BaseException) -> str:
    if isinstance(error, CheckpointException):  # rank 0 knows what failed where; the others, that something did
        if not error.failures:
            return "another rank says why"
        rank, (cause, _) = min(error.failures.items())
        return f"rank {rank}: {_reason(cause)}"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if _of_a_file(error):
        return "a file ended too early, as on a full disk or at the end of a quota"
    return str(error).splitlines()[0].removeprefix("Worker failure: ")


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
    """Collect the writers' results in a plain queue, and let writers end with their rank.

    Upstream (dist_checkpointing/strategies/filesystem_async.py, `_get_write_results_queue`) starts a manager process,
    which imports torch again: 5 s per save and rank on two cores. Asynchronous saves alone need it, and
    `ckpt_async_save` is off in build.py. It also forks a process per file (`write_preloaded_data`), and those wait for
    ever for a rank that was killed in a save.
    """
    filesystem_async._get_write_results_queue = queue.SimpleQueue
    writer = filesystem_async.FileSystemWriterAsync
    writer.write_preloaded_data = staticmethod(partial(_write_as_child, writer.write_preloaded_data))


def _write_as_child(write: Callable[..., None], *arguments: Any, **named: Any) -> None:
    rank = multiprocessing.parent_process()
    die_with_parent(rank.pid if rank else None)
    write(*arguments, **named)
