"""The proof that training starts from the base model: both say the same of the same tokens, before the first step."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from megatron.core import parallel_state
from pydantic import BaseModel
from torch import Tensor

from recipes.artifacts import matching_receipt, write_json
from recipes.engine.base_loss import base_loss, fixed_tokens
from recipes.engine.forward import Rows, losses
from recipes.errors import UserError
from recipes.layout import RunFolder
from recipes.load import read_stated
from recipes.schema import Recipe

# How far the two losses may be apart, relative to max(1, the base's).
# fp32: both compute in 24 bits from the same numbers, and differ in the order of sums.
# bf16: weights and activations have 8 bits here, and only the weights there; the mean over tokens hides most of it.
TOLERANCE = {"32": 1e-4, "bf16-mixed": 0.02}


class _Loss(BaseModel):
    loss: float  # nats per token


class _Conversion(BaseModel):
    """What the import of a base noted."""

    digest: str | None = None
    warm_start: _Loss | None = None


def expected_loss(recipe: Recipe, run: RunFolder) -> float:
    """What the Hugging Face base loses on `fixed_tokens`: as import noted it under `warm_start` in conversion.json, as
    an earlier start noted it in `training/warm_start.json`, or computed now and noted there.

    Raises:
        UserError: it was not noted, and the base's folder is not there.
    """
    manifest = run.base_checkpoint / "conversion.json"
    conversion = read_stated(_Conversion, manifest) if manifest.is_file() else _Conversion()
    if conversion.warm_start:
        return conversion.warm_start.loss
    noted, inputs = run.training / "warm_start.json", {"base": conversion.digest}
    receipt = matching_receipt(noted, inputs) or {}
    if isinstance(receipt.get("loss"), float):
        return float(receipt["loss"])
    folder = Path(str(recipe.model.base))
    if not (folder / "config.json").is_file():
        raise UserError(
            f"{folder}: the base model is not there, so that {run.base_checkpoint} cannot be compared with it; put it "
            f"there for the first start."
        )
    loss = base_loss(folder)
    write_json(noted, {"inputs": inputs, "base": str(folder), "loss": loss})
    return loss


class WarmStart(pl.Callback):
    """Stops before the first step unless every replica of the model, in the layout that trains, has the base's loss.

    Args:
        expected: of the base, by `expected_loss`.
        precision: of the recipe; sets the tolerance.
        vocab_size: of the base, without padding.
        place: the checkpoint that was loaded, for the sentence.
        say: prints a line for people; called on rank 0 only.
    """

    def __init__(
        self, expected: float, precision: str, vocab_size: int, place: Path, say: Callable[[str], None]
    ) -> None:
        self.expected, self.vocab_size, self.place, self.say = expected, vocab_size, place, say
        self.tolerance = TOLERANCE[precision] * max(1.0, expected)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        found = worst_loss(trainer.strategy.megatron_parallel, fixed_tokens(self.vocab_size), self.expected)
        if not abs(found - self.expected) <= self.tolerance:  # NaN is never within a tolerance
            raise UserError(
                f"{self.place}: the loaded model has a loss of {found:.4f} on fixed tokens where its Hugging Face base "
                f"has {self.expected:.4f} (tolerance {self.tolerance:.4f}), so it is not that model; import the base "
                f"again with `cpt convert import`."
            )
        if trainer.is_global_zero:
            self.say(
                f"phase 1 starts from the base model: loss {found:.6f} on fixed tokens, its own {self.expected:.6f}"
            )


def worst_loss(chunks: Any, tokens: Tensor, expected: float) -> float:
    """The mean loss on `tokens` [1, length + 1] of the data-parallel replica that is furthest from `expected`.

    Args:
        chunks: the strategy's `megatron_parallel`.
    """
    batch = Rows(tokens[:, :-1], tokens[:, 1:], torch.ones(tokens[:, 1:].shape))
    sums = losses(chunks, [batch], lambda output, counted: (output.float() * counted).sum())
    mine = None
    if sums:  # of the last pipeline stage alone
        torch.distributed.all_reduce(sums[0], group=parallel_state.get_context_parallel_group())
        mine = sums[0].item() / (tokens.shape[1] - 1)
    found: list[float | None] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(found, mine)
    return max((loss for loss in found if loss is not None), key=lambda loss: (loss != loss, abs(loss - expected)))
