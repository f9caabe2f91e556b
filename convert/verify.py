"""Are two forms of a model the same? `verify` compares every tensor, bit by bit, and then what the models say."""

from math import prod
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, computed_field
from rich.console import Console
from rich.progress import Progress
from torch import Tensor

from convert.hf_folder import read_config, shape_of
from convert.logits import LogitReport, Request, Side, compare_logits
from convert.mapping import Slot, slots
from convert.opening import is_hf_folder, open_weights
from convert.origin import base_of, stated_shape
from convert.passage import QUIET
from convert.weights import Weights
from recipes.errors import UserError
from recipes.shape import Qwen3Shape

_BITS = {2: torch.int16, 4: torch.int32}
_SHOWN = 10


class Verification(BaseModel):
    """What `verify` found. `rounded` tensors are those of the other model rounded to this one's dtype, which is no
    difference; `largest_rounding` is how far a weight moved by it. `logits` is None where none were compared.
    """

    model_config = ConfigDict(frozen=True)

    a: str
    b: str
    dtypes: tuple[str, str]
    tensors: int
    identical: int
    rounded: int
    largest_rounding: float
    differences: list[str]
    logits: LogitReport | None

    @computed_field  # type: ignore[prop-decorator]
    @property
    def equal(self) -> bool:
        return not self.differences and (self.logits is None or self.logits.equal)

    def show(self, console: Console) -> None:
        """Print the verdict, the first differences and their number, and how far the logits are apart."""

        def say(line: str) -> None:
            console.print(line, highlight=False, markup=False, soft_wrap=True)

        say(f"{self.a} and {self.b}: {'the same model' if self.equal else 'different'}")
        say(f"  {self.identical} of {self.tensors} tensors are identical in every bit")
        if self.rounded:
            what = f"{self.rounded} are equal after rounding between {' and '.join(self.dtypes)}"
            say(f"  {what}, by up to {self.largest_rounding:.1e}")
        for difference in self.differences[:_SHOWN]:
            say(f"  different: {difference}")
        if len(self.differences) > _SHOWN:
            say(f"  … and {len(self.differences) - _SHOWN} more differences, {len(self.differences)} in all")
        say(f"  {self.logits.sentence() if self.logits else 'logits were not compared'}")


def verify(
    a: Path,
    b: Path,
    base: Path | None = None,
    *,
    logits: bool = True,
    greedy_tokens: int = 4,
    progress: Progress = QUIET,
) -> Verification:
    """Compare two models, each a Hugging Face folder or a NeMo checkpoint: configuration, tensors, logits.

    Tensors are compared under their Hugging Face names, one at a time; a NeMo checkpoint goes through the mapping. For
    logits (`convert.logits`) a NeMo checkpoint is run by Megatron-Core and a Hugging Face folder by `transformers`.
    They are left out where the configurations ask for different tensors, or a tensor is damaged.

    Args:
        base: Hugging Face folder whose config.json says the shape of NeMo checkpoints. Without it that is what the
            checkpoint's own context/config.json says, or the base of its run, or the lock of its run, or else the other
            model, which then proves nothing about rope_theta and rms_norm_eps.

    Raises:
        UserError: there is no model, it is damaged in its structure or of another architecture, or the shape of a NeMo
            checkpoint is unknown, or not that of the base.
    """
    stated_a, stated_b = _stated_shape(a, base), _stated_shape(b, base)
    shape_a, shape_b = _known(a, stated_a, stated_b), _known(b, stated_b, stated_a)
    weights_a, weights_b = open_weights(a, shape_a), open_weights(b, shape_b)
    comparable = list(slots(shape_a)) == list(slots(shape_b))
    tensors = _Tensors()
    if comparable:
        item = weights_a.dtype.itemsize + weights_b.dtype.itemsize
        task = progress.add_task("comparing tensors", total=shape_a.parameters * item)
        for slot in slots(shape_a):
            tensors.compare(slot, weights_a, weights_b)
            progress.advance(task, sum(map(prod, slot.hf.values())) * item)
        progress.remove_task(task)
    report = None
    if logits and comparable and not tensors.damaged:
        request = Request(a=_side(a, shape_a), b=_side(b, shape_b), greedy_tokens=greedy_tokens)
        report = compare_logits(request, progress)
    return Verification(
        a=str(a),
        b=str(b),
        dtypes=(_name(weights_a.dtype), _name(weights_b.dtype)),
        tensors=tensors.count,
        identical=tensors.identical,
        rounded=tensors.rounded,
        largest_rounding=tensors.largest_rounding,
        differences=_other_fields(shape_a, shape_b) + tensors.differences,
        logits=report,
    )


class _Tensors:
    """The comparison of tensors, while it runs."""

    def __init__(self) -> None:
        self.differences: list[str] = []
        self.count = self.identical = self.rounded = 0
        self.largest_rounding = 0.0
        self.damaged = False

    def compare(self, slot: Slot, a: Weights, b: Weights) -> None:
        """Compare the tensors of one slot."""
        self.count += len(slot.hf)
        parts_a, parts_b = self._read(slot, a), self._read(slot, b)
        for name in slot.hf if parts_a and parts_b else ():
            self._compare(name, parts_a[name], parts_b[name])

    def _read(self, slot: Slot, weights: Weights) -> dict[str, Tensor]:
        """The slot's tensors; nothing if they hold NaN, infinity or only zeros, which is noted."""
        try:
            return weights.parts(slot)
        except UserError as error:
            self.differences.append(str(error))
            self.damaged = True
            return {}

    def _compare(self, name: str, a: Tensor, b: Tensor) -> None:
        if a.dtype == b.dtype and same_bits(a, b):
            self.identical += 1
            return
        largest, count = difference(a, b)
        if a.dtype != b.dtype and (same_bits(a.to(b.dtype), b) or same_bits(a, b.to(a.dtype))):
            self.rounded += 1
            self.largest_rounding = max(self.largest_rounding, largest)
        else:
            self.differences.append(f"{name}: {count:,} of {a.numel():,} weights, by up to {largest:.3g}")


def same_bits(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors of one dtype are the same, with 0 and -0 apart."""
    bits = _BITS[a.dtype.itemsize]
    return torch.equal(a.view(bits), b.view(bits))


def difference(a: Tensor, b: Tensor) -> tuple[float, int]:
    """(the largest absolute difference, how many weights differ); in parts, since fp32 copies may be twice as large."""
    largest, count = 0.0, 0
    for part_a, part_b in zip(a.split(4096), b.split(4096), strict=True):
        apart = (part_a.float() - part_b.float()).abs()
        largest = max(largest, apart.max().item())
        count += int(apart.count_nonzero())
    return largest, count


def _stated_shape(model: Path, base: Path | None) -> Qwen3Shape | None:
    """What the model says of its shape; for a NeMo checkpoint, what its base or its import says."""
    if not model.is_dir():
        raise UserError(f"{model}: there is no such folder; give a Hugging Face model or a NeMo checkpoint.")
    places = [model, base, model / "context", base_of(model)]
    place = next((place for place in places if place and is_hf_folder(place)), None)
    return shape_of(place / "config.json", read_config(place)) if place else None


def _known(model: Path, stated: Qwen3Shape | None, other: Qwen3Shape | None) -> Qwen3Shape:
    """`stated`, or what the lock of its run says, or what the `other` model is."""
    locked = None if stated else stated_shape(model.resolve())
    if locked and other:  # a recipe asks for the positions that it needs; the model may have more
        locked = locked.model_copy(update={"max_position_embeddings": other.max_position_embeddings})
    shape = stated or locked or other
    if shape is None:
        raise UserError(f"{model}: the checkpoint does not say its heads; give the base model's folder with --base.")
    return shape


def _other_fields(a: Qwen3Shape, b: Qwen3Shape) -> list[str]:
    """The fields of the configurations that are not the same; how random weights began is past."""
    fields = a.model_dump(exclude={"initializer_range"})
    return [
        f"config.json: {field} is {value!r} and {getattr(b, field)!r}"
        for field, value in fields.items()
        if getattr(b, field) != value
    ]


def _side(model: Path, shape: Qwen3Shape) -> Side:
    return Side(path=model, framework="transformers" if is_hf_folder(model) else "megatron", shape=shape)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
