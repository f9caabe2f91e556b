"""The proof of a conversion: two models on disk say the same, each run by its own framework."""

import json
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from rich.progress import Progress
from torch import Tensor

from convert.hf_folder import HfFolder
from convert.nemo_checkpoint import NemoWeights
from convert.passage import QUIET
from convert.weights import Weights
from recipes.errors import UserError
from recipes.processes import module_output
from recipes.shape import Qwen3Shape

# How far logits may be apart, relative to max(1, the largest of them).
# Both sides compute in fp32 (24 bits) from the same numbers, and differ in the order of sums at most.
SAME_DTYPE = 1e-4
# One side holds the other's fp32 weights rounded to bf16 (8 bits) or fp16 (11 bits): a weight moves by up to 2^-9 or
# 2^-12 of itself. In random models of 28 and of 64 layers that moved logits by 0.009 to 0.025 of the largest, and by
# an eighth of it for fp16; the tolerance is twice as much.
ROUNDED = {torch.bfloat16: 0.05, torch.float16: 0.05 / 8}


class Side(BaseModel):
    """A model on disk and what runs it.

    Megatron-Core reads a NeMo checkpoint as it lies there, under Megatron's own names, so that the mapping to Hugging
    Face has no part in it. A Hugging Face folder, too, can be run by Megatron-Core: it goes through the mapping.
    """

    model_config = ConfigDict(frozen=True)

    path: Path
    framework: Literal["megatron", "transformers"]
    shape: Qwen3Shape  # what Megatron-Core is configured with; `transformers` follows the folder's config.json
    allow_pickle: bool = False


class Request(BaseModel):
    """Two models of one vocabulary, and how much text to compare them on."""

    model_config = ConfigDict(frozen=True)

    a: Side
    b: Side
    prompts: int = Field(4, gt=0)
    prompt_tokens: int = Field(16, gt=0)
    greedy_tokens: int = Field(4, gt=0)

    @property
    def positions(self) -> int:
        """Tokens of one prompt with its continuation; what follows the last one is not fed in again."""
        return self.prompt_tokens + self.greedy_tokens - 1


class LogitReport(BaseModel):
    """How far the logits of two models are apart; prompts and positions count from 0, memory is in bytes.

    `max_abs_difference` is None if a logit is no finite number. `greedy_equal`: `b` would choose every token that `a`
    chose; it may choose another where `a` itself prefers its own by no more than twice the tolerance (`near_ties`).
    """

    model_config = ConfigDict(frozen=True)

    prompts: int
    positions: int
    greedy_tokens: int
    max_abs_logit: float | None
    max_abs_difference: float | None
    tolerance: float
    first_difference: tuple[int, int] | None  # prompt, position: the first place where logits differ too much
    greedy_equal: bool
    near_ties: int
    seconds: float = 0.0
    peak_memory: int = 0
    memory_limit: int = 0

    @property
    def equal(self) -> bool:
        return self.first_difference is None and self.greedy_equal

    def sentence(self) -> str:
        """One line for the terminal."""
        what = f"logits of {self.prompts} prompts × {self.positions} tokens"
        if self.max_abs_difference is None:
            return f"{what} hold NaN or infinity"
        distance = f"at most {self.max_abs_difference:.1e} apart" if self.max_abs_difference else "equal in every bit"
        apart = f"{what} are {distance} (tolerance {self.tolerance:.1e})"
        greedy = f"the greedy tokens are {'the same' if self.greedy_equal else 'different'}"
        if self.first_difference is None:
            return f"{apart}; {greedy}"
        prompt, position = self.first_difference
        return f"{apart}, first exceeded in prompt {prompt} at position {position}; {greedy}"


def same_logits(
    source: Weights, written: Path, progress: Progress = QUIET, allow_pickle: bool = False
) -> dict[str, Any]:
    """The proof of one conversion (`convert.weights.Compare`): what was measured, if the logits are the same.

    The NeMo checkpoint of the two is run by Megatron-Core, the Hugging Face folder by `transformers`. Where neither is
    a NeMo checkpoint, as with an average, Megatron-Core runs what was written, in the shape of the source.

    Raises:
        UserError: the logits are further apart than the tolerance, or cannot be computed.
    """
    trained = source.checkpoint.folder if isinstance(source, NemoWeights) else written
    exported = source.root if isinstance(source, HfFolder) else written
    a = Side(path=trained, framework="megatron", shape=source.shape)
    b = Side(path=exported, framework="transformers", shape=source.shape, allow_pickle=allow_pickle)
    report = compare_logits(Request(a=a, b=b), progress)
    if not report.equal:
        raise UserError(
            f"{source.place}: converted, its {report.sentence()}; report this with the model's config.json."
        )
    return report.model_dump()


def compare_logits(request: Request, progress: Progress = QUIET) -> LogitReport:
    """Compare the logits of two models in a process of its own (`convert.logits_process`), without GPU.

    Each of the `greedy_tokens` costs one pass over `a`, which reads and converts all its weights once; `b` takes one
    pass. Memory: up to `memory_limit`; bf16 models of the shapes of 0.6B and 4B took 1.9 of 2.7 and 3.3 of 4.9 GB.

    Raises:
        UserError: a model cannot be read, or the process failed, with its last line.
    """
    task = progress.add_task("comparing logits", total=None)
    answer: dict[str, Any] = {}
    try:
        for line in module_output("convert.logits_process", request.model_dump_json(), CUDA_VISIBLE_DEVICES=""):
            answer = json.loads(line)
            progress.update(task, completed=answer.get("read"), total=answer.get("of"))
    except UserError as error:
        raise UserError(f"comparing logits: {error}") from error
    finally:
        progress.remove_task(task)
    return LogitReport.model_validate(answer["report"])


def memory_limit(shape: Qwen3Shape, tokens: int) -> int:
    """Bytes that `compare_logits` may need: 1.2 GB for the frameworks, the embedding and the largest matrix of a layer
    twice in fp32 (as stored and as computed with), and four copies of the logits of so many `tokens`.
    """
    query = shape.num_attention_heads * shape.head_dim
    qkv = query + 2 * shape.num_key_value_heads * shape.head_dim
    matrix = shape.hidden_size * max(2 * shape.intermediate_size, qkv)
    return 1_200_000_000 + 8 * (shape.vocab_size * shape.hidden_size + matrix) + 16 * tokens * shape.vocab_size


def tolerance_for(*dtypes: torch.dtype) -> float:
    """How far logits may be apart, relative to the largest, when the weights of two models are stored as `dtypes`."""
    return SAME_DTYPE if len({*dtypes}) == 1 else max(ROUNDED.get(dtype, SAME_DTYPE) for dtype in dtypes)


def compare(a: Tensor, b: Tensor, greedy_tokens: int, relative_tolerance: float) -> LogitReport:
    """Compare logits [prompts, positions, vocabulary] of the same tokens.

    The last `greedy_tokens` positions of `a` say which tokens it chose.
    """
    apart = (a - b).abs().amax(-1)
    largest = max(a.abs().max().item(), b.abs().max().item())
    finite = bool(torch.isfinite(apart).all())
    tolerance = relative_tolerance * max(1.0, largest) if finite else 0.0
    too_far = (~(apart <= tolerance)).nonzero().tolist()  # NaN is never within a tolerance
    last_a, last_b = a[:, -greedy_tokens:], b[:, -greedy_tokens:]
    lead = last_a.amax(-1) - last_a.gather(-1, last_b.argmax(-1, keepdim=True))[..., 0]
    different = last_a.argmax(-1) != last_b.argmax(-1)
    near_ties = different & (lead <= 2 * tolerance)
    return LogitReport(
        prompts=a.shape[0],
        positions=a.shape[1],
        greedy_tokens=greedy_tokens,
        max_abs_logit=largest if finite else None,
        max_abs_difference=apart.max().item() if finite else None,
        tolerance=tolerance,
        first_difference=too_far[0] if too_far else None,
        greedy_equal=torch.equal(different, near_ties),
        near_ties=int(near_ties.sum()),
    )
