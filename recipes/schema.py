"""The schema of a recipe file. Unknown keys are errors; every field says its unit."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from recipes.shape import Qwen3Shape

Packing = Literal["concatenate", "best_fit"]
Recompute = Literal["none", "selective", "full"]


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
    """Learning rate of one phase: linear warmup to max_lr, then one of four ways; `recipes.schedule` has the formulas.

    cosine: down to min_lr at the end. constant: stays there. wsd: stays there, and goes down to min_lr over the last
    `decay_fraction`. continue: the schedule of the phase before goes on, stretched over the iterations of both.
    """

    kind: Literal["cosine", "constant", "wsd", "continue"] = "cosine"
    max_lr: float | None = Field(None, gt=0)
    min_lr: float = Field(0.0, ge=0)
    warmup_fraction: float = Field(0.0, ge=0, lt=1)  # of the iterations of the phase that states it
    decay_fraction: float | None = Field(None, gt=0, le=1)  # wsd: of the iterations of all that share the schedule

    @model_validator(mode="after")
    def _fields_of_the_kind(self) -> "Schedule":
        if self.kind == "continue":
            if self != Schedule.model_construct(kind="continue"):
                raise ValueError("kind: continue goes on with the schedule of the phase before; state nothing else")
            return self
        if self.max_lr is None:
            raise ValueError(f"kind: {self.kind} needs `max_lr`")
        if self.min_lr > self.max_lr:
            raise ValueError(f"min_lr ({self.min_lr}) must not exceed max_lr ({self.max_lr})")
        if (self.kind == "wsd") != (self.decay_fraction is not None):
            raise ValueError(f"kind: {self.kind} {'needs' if self.kind == 'wsd' else 'has no'} `decay_fraction`")
        if self.warmup_fraction + (self.decay_fraction or 0) > 1:
            raise ValueError("warmup_fraction and decay_fraction must not exceed 1 together")
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
    document_masking: bool = False  # attention and positions stay inside a document
    recompute: Recompute = "none"  # in the backward pass: selective the MLP of each layer, full whole layers
    loss_chunk_tokens: int | None = Field(None, gt=0)  # logits exist for so many tokens at a time; by default for all
    schedule: Schedule
    optimizer_state: Literal["reset", "carry"] = "reset"  # carry: Adam's moments of the phase before, and those alone

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
    """When checkpoints are written, and which stay: of each phase the newest, and some for good."""

    every_iterations: int = Field(gt=0)
    keep_last: int = Field(2, gt=0)  # with one alone, nothing is left if it is damaged
    keep_every_iterations: int | None = Field(None, gt=0)  # checkpoints at multiples of this stay for good
    keep_best: int = Field(0, ge=0)  # so many of a phase with the lowest validation loss stay for good
    best_by: str | None = None  # the domain whose validation loss counts; by default the mean over all tokens validated

    @model_validator(mode="after")
    def _kept_are_written(self) -> "Checkpoint":
        if self.keep_every_iterations and self.keep_every_iterations % self.every_iterations:
            raise ValueError(
                f"keep_every_iterations ({self.keep_every_iterations}) must be a multiple of every_iterations "
                f"({self.every_iterations})"
            )
        return self


class Faults(Strict):
    """What happens when a step goes wrong, or does not end.

    A skipped batch is counted and its weights' update left out. A spike is a loss far above those of the last `window`
    iterations of the phase (`recipes.loss_history`); `note` says so and trains on.
    """

    nonfinite: Literal["stop", "skip"] = "stop"  # a loss or gradient norm that is NaN or infinite
    spike: Literal["stop", "skip", "note"] = "note"
    spike_deviations: float = Field(8.0, gt=0)  # robust standard deviations above the median
    window: int = Field(128, ge=4)  # iterations; there are no spikes before so many
    max_skipped: int = Field(8, ge=0)  # batches within a window; one more stops the run
    hang_minutes: float = Field(10.0, gt=0)  # within a step, without a micro batch more on a rank
    slow_stage_minutes: float = Field(60.0, gt=0)  # between two: a start, a checkpoint, a validation


class Evaluation(Strict):
    """How much held-out text is scored, per source, and in windows of how many tokens."""

    tokens_per_source: int = Field(gt=0)
    sequence_length: int = Field(gt=0)


class Validation(Strict):
    """Loss on held-out documents while training: at the very start, every n iterations, at the end of every phase, and
    at every checkpoint if the best of them are kept.

    Scored in windows of `evaluation.sequence_length` tokens, as `cpt evaluate` does it, on documents drawn at random.
    """

    every_iterations: int = Field(gt=0)
    tokens_per_source: int = Field(gt=0)


class Samples(Strict):
    """Greedy continuations of fixed prompts: at the very start, every n iterations, at the end of every phase.

    Phases with context_parallel > 1 have none.
    """

    every_iterations: int = Field(gt=0)
    prompts: list[Annotated[str, Field(min_length=1)]] = Field(min_length=1)
    new_tokens: int = Field(32, gt=0)  # at most; the document separator ends a text


class Wandb(Strict):
    """Where Weights & Biases shows the run: the metrics of all phases and restarts as one W&B run."""

    project: str
    entity: str | None = None  # a user or a team; by default that of the login
    name: str | None = None  # by default the run folder's
    mode: Literal["online", "offline"] = "online"  # a cluster that is offline makes it so


class Recipe(Strict):
    """A recipe file, validated."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_]*$")
    engine: Literal["nemo"] = "nemo"
    objective: Literal["causal_lm"] = "causal_lm"
    seed: int = Field(1234, ge=0)
    precision: Literal["bf16-mixed", "32"] = "bf16-mixed"
    gradient_reduction: Literal["fp32", "bf16"] = "fp32"  # what gradients are summed in, over batches and ranks
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
    faults: Faults = Faults()
    evaluation: Evaluation
    validation: Validation | None = None
    samples: Samples | None = None
    wandb: Wandb | None = None

    @model_validator(mode="after")
    def _phases(self) -> "Recipe":
        if self.phases[0].schedule.kind == "continue":
            raise ValueError(f"phase {self.phases[0].name}: the first phase has no schedule to continue")
        if self.gradient_reduction == "bf16" and self.precision != "bf16-mixed":
            raise ValueError("gradient_reduction: bf16 needs precision: bf16-mixed")
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

    @model_validator(mode="after")
    def _observing(self) -> "Recipe":
        """Observing a training must fit into its memory."""
        window = self.evaluation.sequence_length
        for phase in self.phases if self.validation else []:
            if window > phase.micro_batch_size * phase.sequence_length:
                raise ValueError(
                    f"phase {phase.name}: validation in windows of evaluation.sequence_length ({window}) needs more "
                    f"memory than training, whose micro batches have {phase.micro_batch_size * phase.sequence_length} "
                    f"tokens"
                )
        if self.checkpoint.keep_best and not self.validation:
            raise ValueError("checkpoint.keep_best needs `validation`; state that, or keep_best: 0")
        return self

    @property
    def shape_needed(self) -> Qwen3Shape:
        """What a base model must have: this shape, and positions for the longest sequence (a -Base model has fewer)."""
        longest = max(phase.sequence_length for phase in self.phases)
        return self.model.shape.model_copy(update={"max_position_embeddings": longest})

    def phase(self, number: int) -> Phase:
        """Phase by number, counted from 1 as everywhere users see it."""
        return self.phases[number - 1]
