"""A model that is a weighted sum of others, computed slot by slot: averages, linear merges, task arithmetic.

Sources: uniform averages of fine-tuned models, Wortsman et al. 2022 (arXiv:2203.05482); averages over a run's last
checkpoints, Sanyal et al. 2023 (arXiv:2306.03241); task arithmetic, Ilharco et al. 2022 (arXiv:2212.04089); the chat
vector, Huang et al. 2023 (arXiv:2310.04799).
"""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from convert import manifest
from convert.checks import check_tensor
from convert.mapping import Size, Slot
from convert.origin import origin
from convert.weights import Weights
from recipes.artifacts import read_json
from recipes.errors import UserError

_BLOCK = 1 << 20  # elements widened at a time
# How random weights began is past; and no weight of a model with rotary embeddings depends on its longest position.
_FREE = ("initializer_range", "max_position_embeddings")


class Combination:
    """Σ coefficient · model, of models of one shape; itself a source of a conversion (`convert.weights.Weights`).

    What is no weighted sum comes from the first model: the shape, whose longest position the others need not share, and
    the dtype, unless `dtype` says otherwise.

    The sum of a slot is kept in fp32 for bf16 and fp16, in fp64 as soon as fp32 takes part, and rounded once: the
    sum has 13 bits or more to spare, so equal models average to themselves. In memory are the sum of one slot
    and the slot's tensors of one model.

    Raises:
        UserError: models of different shapes.
    """

    def __init__(self, method: str, terms: Iterable[tuple[Weights, float]], dtype: torch.dtype | None = None) -> None:
        self.method, self.terms = method, tuple(terms)
        models = [model for model, _ in self.terms]
        first = models[0]
        self.place = f"{method} of {', '.join(model.place for model in models)}"
        for model in models[1:]:
            _refuse_other_shape(first, model)
        self.shape, self.dtype = first.shape, dtype or first.dtype
        self._wide = wider(self.dtype, *(model.dtype for model in models))

    @classmethod
    def average(cls, models: Sequence[Weights], dtype: torch.dtype | None = None) -> "Combination":
        """The uniform average."""
        return cls("average", zip(models, uniform_weights(len(models)), strict=True), dtype)

    @classmethod
    def ema(cls, models: Sequence[Weights], decay: float, dtype: torch.dtype | None = None) -> "Combination":
        """The exponential moving average of `models`, oldest first; coefficients: `ema_weights`."""
        return cls("ema", zip(models, ema_weights(len(models), decay), strict=True), dtype)

    @classmethod
    def linear(
        cls, models: Sequence[Weights], weights: Sequence[float], dtype: torch.dtype | None = None
    ) -> "Combination":
        """Σ weight · model.

        Raises:
            UserError: the weights are not finite, or do not sum to 1 (within 1e-6).
        """
        total = _sum(weights)
        if not math.isclose(total, 1, rel_tol=0, abs_tol=1e-6):
            raise UserError(f"weights {_listed(weights)}: they sum to {total:.7g}, not to 1; change them.")
        return cls("linear", zip(models, weights, strict=True), dtype)

    @classmethod
    def task_arithmetic(
        cls, origin: Weights, models: Sequence[Weights], scales: Sequence[float], dtype: torch.dtype | None = None
    ) -> "Combination":
        """origin + Σ scale · (model - origin), as one sum in which the origin has the coefficient 1 - Σ scale.

        A chat vector is this with the origin both come from, and [trained, instruct] at scales [1, 1].

        Raises:
            UserError: a scale is not finite.
        """
        models, scales = [*models, origin], [*scales, 1 - _sum(scales)]
        return cls("task_arithmetic", zip(models, scales, strict=True), dtype)

    @property
    def folders(self) -> tuple[Path, ...]:
        return tuple(folder for model, _ in self.terms for folder in model.folders)

    @property
    def iteration(self) -> int | None:
        """The largest number of optimizer steps that any of the models is known to have behind it."""
        return max((model.iteration for model, _ in self.terms if model.iteration is not None), default=None)

    @property
    def description(self) -> dict[str, Any]:
        """For manifest and model card: the method, and every model's place, coefficient, and what is known of it."""
        terms = [
            {
                "place": model.place,
                "coefficient": coefficient,
                "iteration": model.iteration,
                "digest": _stated_digest(model.place),
                "origin": origin(Path(model.place)),
            }
            for model, coefficient in self.terms
        ]
        return {"method": self.method, "terms": terms}

    def parts(self, slot: Slot) -> dict[str, Tensor]:
        """The slot's Hugging Face tensors by name, of `dtype`, checked.

        Raises:
            UserError: what a model's own tensors raise; the sum is out of the dtype's range, or all zero.
        """
        sums: dict[str, Tensor] = {}
        for model, coefficient in self.terms:
            if coefficient:  # what is not read cannot cost anything, nor turn the sign of a zero
                self._add(sums, model.parts(slot), coefficient)
        return {name: self._rounded(name, sums.pop(name), size) for name, size in slot.hf.items()}

    def _add(self, sums: dict[str, Tensor], parts: dict[str, Tensor], coefficient: float) -> None:
        for name, tensor in parts.items():
            sums[name] = add_scaled(sums.get(name), tensor, coefficient, self._wide)

    def _rounded(self, name: str, total: Tensor, size: Size) -> Tensor:
        tensor = total.to(self.dtype)
        check_tensor(self.place, name, tensor, size)
        return tensor


def uniform_weights(count: int) -> list[float]:
    """1 / count for each."""
    return [1 / count] * count


def ema_weights(count: int, decay: float) -> list[float]:
    """(1 - β) · β^(n-1-i) for the i-th of n, oldest first; the oldest gets the rest, β^(n-1), so that they sum to 1.

    These are the weights of e₀ = m₀, eᵢ = β · eᵢ₋₁ + (1 - β) · mᵢ.

    Raises:
        UserError: the decay is not in [0, 1).
    """
    if not 0 <= decay < 1:
        raise UserError(f"decay {decay}: expected a number from 0 up to but not 1; 0.9 is common.")
    return [decay ** (count - 1)] + [(1 - decay) * decay ** (count - 1 - i) for i in range(1, count)]


def wider(*dtypes: torch.dtype) -> torch.dtype:
    """The dtype in which to sum tensors of `dtypes`."""
    return torch.float32 if {torch.bfloat16, torch.float16}.issuperset(dtypes) else torch.float64


def add_scaled(total: Tensor | None, tensor: Tensor, coefficient: float, dtype: torch.dtype) -> Tensor:
    """`total` + coefficient · tensor, in place, or a new sum of `dtype` without a `total`; widened block by block."""
    target = torch.empty(tensor.shape, dtype=dtype) if total is None else total
    for into, block in zip(target.view(-1).split(_BLOCK), tensor.reshape(-1).split(_BLOCK), strict=True):
        if total is None:
            torch.mul(block.to(dtype), coefficient, out=into)
        else:
            into.add_(block.to(dtype), alpha=coefficient)
    return target


def parse_terms(texts: Sequence[str]) -> list[tuple[Path, float | None]]:
    """MODEL or MODEL=WEIGHT, as on the command line. What is there under its whole name is a model: `step=7`.

    Raises:
        UserError: a weight is not a number, or some models have a weight and others have none.
    """
    terms = [_parse_term(text) for text in texts]
    missing = [path for path, weight in terms if weight is None]
    if missing and len(missing) < len(terms):
        raise UserError(f"{missing[0]}: it has no weight, but others have; give {missing[0]}=WEIGHT, or no weights.")
    return terms


def _parse_term(text: str) -> tuple[Path, float | None]:
    name, equals, weight = text.rpartition("=")
    if not equals or Path(text).exists():
        return Path(text), None
    try:
        return Path(name), float(weight)
    except ValueError:
        raise UserError(f"{text}: expected MODEL or MODEL=WEIGHT with a number, and there is no such folder.") from None


def _refuse_other_shape(first: Weights, other: Weights) -> None:
    expected, found = (model.shape.model_dump(exclude={*_FREE}) for model in (first, other))
    for field, value in expected.items():
        if found[field] != value:
            remedy = "extend the vocabulary of both alike" if field == "vocab_size" else "give models of one shape"
            raise UserError(f"{other.place}: {field} is {found[field]!r}, but {first.place} has {value!r}; {remedy}.")


def _stated_digest(place: str) -> str | None:
    """The digest in the manifest beside the weights, where this project wrote them."""
    path = Path(place, manifest.NAME)
    stated = read_json(path) if path.is_file() else None
    digest = stated.get("digest") if isinstance(stated, dict) else None
    return digest if isinstance(digest, str) else None


def _sum(weights: Sequence[float]) -> float:
    if not all(map(math.isfinite, weights)):
        raise UserError(f"weights {_listed(weights)}: expected finite numbers; change them.")
    return math.fsum(weights)  # rounded once, so that scales of 0.1, ten times, leave nothing of the origin


def _listed(weights: Sequence[float]) -> str:
    return ", ".join(f"{weight:g}" for weight in weights)
