"""The constants of a phase that its progress is measured by, from recipe and cluster alone."""

from dataclasses import dataclass

from recipes.cluster import Accelerator, Cluster
from recipes.schema import Phase, Recipe


@dataclass(frozen=True)
class PhaseNumbers:
    """Tokens, iterations and FLOPs of a phase, of those before it and of those after it."""

    phase: int
    name: str
    iterations: int
    iterations_before: int  # in earlier phases
    tokens_per_iteration: int
    tokens_before: int  # in earlier phases
    flops_per_token: float  # `Qwen3Shape.flops_per_token`
    flops_after: float  # of all later phases, attention over whole sequences
    attention_length: float | None  # tokens, where documents are masked and that is known (`recipes.attention_length`)
    document_masking: bool
    ranks: int
    accelerator: Accelerator | None

    @classmethod
    def of(
        cls, recipe: Recipe, cluster: Cluster, number: int, ranks: int, attention_length: float | None = None
    ) -> "PhaseNumbers":
        phase, earlier = recipe.phase(number), recipe.phases[: number - 1]
        return cls(
            phase=number,
            name=phase.name,
            iterations=phase.iterations,
            iterations_before=sum(one.iterations for one in earlier),
            tokens_per_iteration=phase.tokens_per_iteration,
            tokens_before=sum(map(_tokens, earlier)),
            flops_per_token=recipe.model.shape.flops_per_token(attention_length or phase.sequence_length),
            flops_after=sum(_flops(recipe, one) for one in recipe.phases[number:]),
            attention_length=attention_length,
            document_masking=phase.document_masking,
            ranks=ranks,
            accelerator=cluster.accelerator,
        )

    @property
    def flops_per_iteration(self) -> float:
        return self.flops_per_token * self.tokens_per_iteration

    @property
    def peak_flops(self) -> float | None:
        """FLOP/s of all ranks together; None where the cluster names no accelerator."""
        return self.ranks * self.accelerator.peak_bf16_tflops * 1e12 if self.accelerator else None


def _tokens(phase: Phase) -> int:
    return phase.iterations * phase.tokens_per_iteration


def _flops(recipe: Recipe, phase: Phase) -> float:
    return _tokens(phase) * recipe.model.shape.flops_per_token(phase.sequence_length)
