"""What every source of a conversion gives: the tensors of one dense Qwen3, slot by slot, under Hugging Face names."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from convert.mapping import Slot
from recipes.shape import Qwen3Shape


class Weights(Protocol):
    """A model on disk, read on demand; a Hugging Face folder, a NeMo checkpoint, or a combination of several.

    `place` names it in messages, `folders` are those that it reads, `iteration` counts the optimizer steps behind it,
    where that is known.
    """

    @property
    def place(self) -> str: ...
    @property
    def folders(self) -> tuple[Path, ...]: ...
    @property
    def shape(self) -> Qwen3Shape: ...
    @property
    def dtype(self) -> torch.dtype: ...
    @property
    def iteration(self) -> int | None: ...

    def parts(self, slot: Slot) -> dict[str, Tensor]:
        """The slot's Hugging Face tensors by full name, in the order of `slot.hf`, of the stored dtype, checked."""
        ...


# Compares a model with what was written of it: raises UserError if they differ, else returns what it measured.
Compare = Callable[[Weights, Path], dict[str, Any]]
