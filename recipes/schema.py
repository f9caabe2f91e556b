"""The schema of a recipe file. Unknown keys are errors; every field says its unit."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from recipes.shape import Qwen3Shape

Packing = Literal["concatenate", "best_fit"]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Model(Strict):
    """Which network, and where its first weights come from."""

    family: Literal["qwen3"] = "qwen3"
    init: Literal["hf", "random", "extended"] = "hf"
    hf_id: str | None = None
    base: str | None = None  # folder of the Hugging Face base model; relative to the working directory
    shape: Qwen3Shape  # for init: random the definition, for init: hf what the base's config.json must say

    @model_validator(mode="after")
    def _base(self) -> "Model":
        if self.init == "hf" and not self.base:
            raise ValueError("init: hf needs `base`, the folder of the Hugging Face base model")
        if self.init == "extended":
            raise ValueError(
                "init: extended is reserved for vocabulary extension and not available yet; use hf or random"
            )
        return self


class Tokenizer(Strict):
    """The tokenizer the shards are bound to: a folder with tokenizer.json, or `bundled:bpe8k` / `bundled:qwen3`."""

    path: str
    separator: str = "<|endoftext|>"  # the token that ends every document; its id is pinned in the plan


class Optimizer(Strict):
    """Adam as in Megatron-Core. Weight decay applies to matrices only."""

    weight_decay: float = Field(0.01, ge=0)
    adam_beta1: float = Field(0.9, gt=0, lt=1)
    adam_beta2: float = Field(0.95, gt=0, lt=1)
    adam_eps: float = Field(1e-8, gt=0)
    clip_grad: float = Field(1.0, gt=0)


class Schedule(Strict):
    """Learning rate of one phase: linear warmup to max_lr, then cosine to min_lr at the last iteration."""

    kind: Literal["cosine", "constant"] = "cosine"
    max_lr: float = Field(gt=0)
    min_lr: float = Field(0.0, ge=0)
    warmup_fraction: float = Field(0.0, ge=0, lt=1)  # of the phase's iterations

    @model_validator(mode="after")
    def _order(self) -> "Schedule":
        if self.min_lr > self.max_lr:
            raise ValueError(f"min_lr ({self.min_lr}) must not exceed max_lr ({self.max_lr})")
        return self


class Phase(Strict):
    """One stretch of the curriculum: a token budget, a mixture, a schedule."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_]*$")
    token_budget: int = Field(gt=0)  # tokens
    sequence_length: int = Field(gt=0)  # tokens
    micro_batch_size: int = Field(gt=0)  # sequences per rank and forward pass
    global_batch_size: int = Field(gt=0)  # sequences per optimizer step
    tensor_parallel: int = Field(1, gt=0)
    pipeline_parallel: int = Field(1, gt=0)
    context_parallel: int = Field(1, gt=0)
    mixture: dict[str, Annotated[float, Field(gt=0)]] = Field(min_length=1)  # source or domain -> share of the tokens
    minimum_document_tokens: dict[str, Annotated[int, Field(gt=0)]] = {}  # source or domain -> only documents so long
    packing: Packing = "concatenate"  # best_fit: documents that fit a sequence stay whole
    schedule: Schedule
    optimizer_state: Literal["reset", "carry"] = "reset"

    @model_validator(mode="after")
    def _shares(self) -> "Phase":
        total = sum(self.mixture.values())
        if abs(total - 1) > 1e-6:
            raise ValueError(f"the shares of `mixture` must add up to 1, they add up to {total:.6g}")
        return self

    @property
    def tokens_per_iteration(self) -> int:
        return self.global_batch_size * self.sequence_length

    @property
    def iterations(self) -> int:
        """Whole optimizer steps that fit into the budget."""
        return self.token_budget // self.tokens_per_iteration

    @property
    def samples(self) -> int:
        """Sequences the phase reads: iterations × global batch."""
        return self.iterations * self.global_batch_size

    @property
    def warmup_iterations(self) -> int:
        return round(self.schedule.warmup_fraction * self.iterations)


class Checkpoint(Strict):
    every_iterations: int = Field(gt=0)
    keep_last: int = Field(2, gt=0)


class Evaluation(Strict):
    """How much held-out text is scored, per source, and in windows of how many tokens."""

    tokens_per_source: int = Field(gt=0)
    sequence_length: int = Field(gt=0)


class Recipe(Strict):
    """A recipe file, validated."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_]*$")
    engine: Literal["nemo"] = "nemo"
    objective: Literal["causal_lm"] = "causal_lm"
    seed: int = Field(1234, ge=0)
    precision: Literal["bf16-mixed", "32"] = "bf16-mixed"
    model: Model
    tokenizer: Tokenizer
    optimizer: Optimizer = Optimizer()
    phases: list[Phase] = Field(min_length=1)
    max_epochs: float = Field(4.0, gt=0, le=200)  # times a source may be read, over all phases
    limit_tokens: dict[
        str, Annotated[int, Field(gt=0)]
    ] = {}  # source or domain -> read a random part of this size only
    expected_tokens: dict[str, int] = {}  # source -> tokens, for planning before the shards exist
    checkpoint: Checkpoint
    evaluation: Evaluation

    @model_validator(mode="after")
    def _phases(self) -> "Recipe":
        names = [phase.name for phase in self.phases]
        if len(set(names)) != len(names):
            raise ValueError(f"phase names must differ, found {names}")
        longest = max(phase.sequence_length for phase in self.phases)
        if longest > self.model.shape.max_position_embeddings:
            raise ValueError(
                f"a sequence_length of {longest} exceeds the model's {self.model.shape.max_position_embeddings:,} "
                f"positions"
            )
        for phase in self.phases:
            if phase.iterations == 0:
                raise ValueError(
                    f"phase {phase.name}: token_budget ({phase.token_budget:,}) is below one global batch "
                    f"({phase.tokens_per_iteration:,} tokens)"
                )
        return self

    @property
    def shape_needed(self) -> Qwen3Shape:
        """What a base model must have: this shape, and positions for the longest sequence (a -Base model has fewer)."""
        longest = max(phase.sequence_length for phase in self.phases)
        return self.model.shape.model_copy(update={"max_position_embeddings": longest})

    def phase(self, number: int) -> Phase:
        """Phase by number, counted from 1 as everywhere users see it."""
        return self.phases[number - 1]
