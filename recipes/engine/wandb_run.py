"""Weights & Biases: the lines of `training/metrics.jsonl` in one W&B run, across phases and restarts."""

import contextlib
import threading
import uuid
from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Any

import lightning.pytorch as pl

from recipes.artifacts import read_json, write_json
from recipes.engine.metrics_file import Tail
from recipes.layout import RunFolder
from recipes.schema import Recipe, Wandb

_SECONDS_TO_FINISH = 60


class WandbRun(pl.Callback):
    """Sends every line of the metrics file from rank 0. What fails is said once, and training goes on without W&B.

    The file is read from its first line at every start, so that what a kill kept from being sent comes after all: an
    online run is sent the steps that W&B has not, an offline one writes a folder that holds the whole run. A step of
    W&B is an iteration counted over all phases; it never goes backwards.

    Args:
        settings: `recipe.wandb`.
        offline: write to disk only, whatever the settings say.
        every: iterations between two looks at the file.
        say: prints a line for people.
    """

    def __init__(
        self, recipe: Recipe, settings: Wandb, run: RunFolder, offline: bool, every: int, say: Callable[[str], None]
    ) -> None:
        self.recipe = recipe
        self.settings = settings
        self.folder = run
        self.offline = offline or settings.mode == "offline"
        self.every = every
        self.say = say
        self._before = list(accumulate((phase.iterations for phase in recipe.phases), initial=0))
        self._tail = Tail(run.metrics)
        self._run: Any = None
        self._first = 0  # step that W&B has not

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.is_global_zero:
            with self._harmless():
                self._begin()
            self._send()

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        if trainer.global_step % self.every == 0:
            self._send()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._finish(0)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._finish(1)

    def _begin(self) -> None:
        import wandb

        self._run = wandb.init(
            project=self.settings.project,
            entity=self.settings.entity,
            name=self.settings.name or self.folder.root.name,
            id=_identity(self.folder),
            dir=str(self.folder.training),
            config=self.recipe.model_dump(mode="json"),
            allow_val_change=True,  # of what the run lock lets through
            mode="offline" if self.offline else "online",
            resume=None if self.offline else "allow",
            settings=wandb.Settings(console="off"),
        )
        self._first = self._run.step
        self._run.define_metric("tokens_total")
        self._run.define_metric("*", step_metric="tokens_total")
        place = f"`wandb sync {self._run.dir.removesuffix('/files')}` sends it" if self.offline else self._run.url
        self.say(f"W&B run {self._run.id} of project {self.settings.project}: {place}.")

    def _send(self) -> None:
        with self._harmless():
            for line in self._tail.new_lines() if self._run else ():
                step = self._before[line["phase"] - 1] + line["iteration"]
                if step >= self._first:
                    self._run.log({key: value for key, value in line.items() if value is not None}, step=step)

    def _finish(self, status: int) -> None:
        """Send the rest; a network that is gone holds nobody up."""
        self._send()
        if self._run:
            last = threading.Thread(target=self._run.finish, args=(status,), daemon=True)
            last.start()
            last.join(_SECONDS_TO_FINISH)

    @contextlib.contextmanager
    def _harmless(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # noqa: BLE001
            self._run = None
            reason = (str(error).strip() or repr(error)).splitlines()[0]
            self.say(f"W&B failed ({reason}); training goes on without it, and the next start sends what is missing.")


def _identity(run: RunFolder) -> str:
    """The id of the W&B run: drawn once, and kept in the run folder. A folder that is begun anew is a new run."""
    if not run.wandb.is_file():
        write_json(run.wandb, {"id": uuid.uuid4().hex[:12]})
    identity: str = read_json(run.wandb)["id"]
    return identity
