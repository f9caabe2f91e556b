"""What the model makes of fixed prompts while it trains: a look at the text that losses are a summary of."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers import TensorBoardLogger

from recipes.engine.greedy import continuations
from recipes.engine.metrics_file import append_line, forget_from, read_lines
from recipes.engine.observing import Observer
from recipes.engine.progress import Progress
from recipes.errors import UserError
from recipes.schema import Samples

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SHOWN = 60  # characters of a prompt and of a text in a printed line


class Sampling(Observer):
    """Continues every prompt greedily and writes a line {"phase", "iteration", "prompt", "text"} for each.

    Args:
        samples: of the recipe.
        progress: of the phase: its numbers, its voice.
        tokenizer: gives the folder of tokenizer.json; called on rank 0 only.
        end: the id that ends a document.
        micro_batch_tokens: as many as there are logits for at a time in training.
        file: that lines are appended to.
    """

    def __init__(
        self,
        samples: Samples,
        progress: Progress,
        tokenizer: Callable[[], Path],
        end: int,
        micro_batch_tokens: int,
        file: Path,
    ) -> None:
        super().__init__({samples.every_iterations}, progress)
        self.samples, self.tokenizer, self.file = samples, tokenizer, file
        self.end, self.micro_batch_tokens = end, micro_batch_tokens

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        prompts: list[Any] = [None]
        if trainer.is_global_zero:
            forget_from(self.file, self.numbers.phase, trainer.global_step)
            self.words = load_tokenizer(self.tokenizer())
            prompts[0] = [self._encode(prompt) for prompt in self.samples.prompts]
        torch.distributed.broadcast_object_list(prompts)
        self.prompts: list[list[int]] = prompts[0]
        super().on_train_start(trainer, pl_module)

    def is_noted(self, step: int) -> bool:
        """What a kill left of an iteration is cut away."""
        here = (self.numbers.phase, step)
        prompts = [line["prompt"] for line in read_lines(self.file) if (line["phase"], line["iteration"]) == here]
        if prompts != self.samples.prompts:
            forget_from(self.file, self.numbers.phase, step - 1)
        return prompts == self.samples.prompts

    def observe(self, trainer: pl.Trainer, step: int) -> None:
        chunks = trainer.strategy.megatron_parallel
        found = continuations(chunks, self.prompts, self.samples.new_tokens, self.end, self.micro_batch_tokens)
        if not trainer.is_global_zero:
            return
        texts = [self.words.decode(ids) for ids in found]
        width = len(str(self.numbers.iterations))
        place = f"phase {self.numbers.phase} {self.numbers.name}  {step:>{width}}/{self.numbers.iterations}"
        for number, (prompt, text) in enumerate(zip(self.samples.prompts, texts, strict=True), 1):
            append_line(self.file, {"phase": self.numbers.phase, "iteration": step, "prompt": prompt, "text": text})
            self.progress.say(f"{place}  sample: {_short(prompt)} → {_short(text)}")
            for logger in trainer.loggers:
                if isinstance(logger, TensorBoardLogger):
                    logger.experiment.add_text(f"sample/{number}", f"**{prompt}**{text}", step)

    def _encode(self, prompt: str) -> list[int]:
        ids: list[int] = self.words.encode(prompt, add_special_tokens=False).ids
        if not ids:
            raise UserError(f"samples.prompts: {prompt!r} has no token to go on from; write some text.")
        return ids


def load_tokenizer(folder: Path) -> "Tokenizer":
    """Raises UserError if there is no readable tokenizer.json in `folder`."""
    from tokenizers import Tokenizer

    path = folder / "tokenizer.json"
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the Rust side raises bare Exception
        raise UserError(
            f"{path}: samples need the tokenizer where training runs ({error}); put it there, or leave them out with "
            f"--set samples=null."
        ) from error


def _short(text: str) -> str:
    """One line of at most SHOWN characters."""
    line = " ".join(text.split())
    return line if len(line) <= SHOWN else line[: SHOWN - 1] + "…"
