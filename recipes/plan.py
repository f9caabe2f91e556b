"""The arithmetic of a curriculum: recipe + source sizes -> exact integers per phase and source."""

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

from recipes.cluster import BatchIdentity, Cluster, batch_identity
from recipes.errors import UserError
from recipes.schema import Phase, Recipe, Schedule, Strict


class SourceSize(NamedTuple):
    """What a corpus holds of one source, held-out documents not counted."""

    name: str
    domain: str
    tokens: int


class PlannedSource(Strict):
    """One source in one phase."""

    share: float  # of the phase's samples, as the recipe asks
    samples: int  # sequences
    tokens: int
    epochs: float  # times the source is read in this phase
    epochs_so_far: float  # and up to the end of it


class PlannedPhase(Strict):
    """One phase in integers: tokens = samples × sequence_length, samples = iterations × global_batch_size."""

    number: int
    name: str
    token_budget: int
    sequence_length: int
    global_batch_size: int
    iterations: int
    samples: int
    tokens: int
    warmup_iterations: int
    schedule: Schedule
    batch: BatchIdentity | None
    sources: dict[str, PlannedSource]


class Plan(Strict):
    """The whole curriculum of a recipe."""

    recipe: str
    seed: int
    phases: list[PlannedPhase]

    @property
    def tokens(self) -> int:
        return sum(phase.tokens for phase in self.phases)


def make_plan(recipe: Recipe, sizes: Sequence[SourceSize], cluster: Cluster | None = None) -> Plan:
    """Compile a recipe against the sizes of a corpus; with a cluster, the batch identity is solved too.

    Raises:
        UserError: a mixture names what the corpus does not have, a source would be read more often than max_epochs, or
            the batch does not divide over the cluster's ranks. The sentence names the field and what would fit.
    """
    read = {size.name: 0 for size in sizes}
    phases = []
    for number, phase in enumerate(recipe.phases, 1):
        shares = source_shares(recipe, number, sizes)
        samples = largest_remainder(shares, phase.samples)
        asked = {name: count * phase.sequence_length for name, count in samples.items()}
        _check_epochs(recipe, number, sizes, read, asked, shares)
        tokens = {size.name: size.tokens for size in sizes}
        sources = {}
        for name, share in shares.items():
            read[name] += asked[name]
            sources[name] = PlannedSource(
                share=share,
                samples=samples[name],
                tokens=asked[name],
                epochs=asked[name] / tokens[name],
                epochs_so_far=read[name] / tokens[name],
            )
        phases.append(_planned(recipe, number, phase, sources, cluster))
    return Plan(recipe=recipe.name, seed=recipe.seed, phases=phases)


def source_shares(recipe: Recipe, number: int, sizes: Sequence[SourceSize]) -> dict[str, float]:
    """Share of each source in a phase: a key of `mixture` is a source, or a domain split by its sources' tokens."""
    shares: dict[str, float] = {}
    for key, share in recipe.phase(number).mixture.items():
        members = _members(recipe, f"phases.{number}.mixture.{key}", key, sizes)
        total = sum(size.tokens for size in members)
        for size in members:
            if size.name in shares:
                raise UserError(
                    f"recipe {recipe.name}, field `phases.{number}.mixture`: source {size.name} is named twice, by "
                    f"itself and by its domain; name one of them."
                )
            shares[size.name] = share * size.tokens / total
    return {name: share for name, share in shares.items() if share > 0}


def source_limits(recipe: Recipe, sizes: Sequence[SourceSize]) -> dict[str, int]:
    """Tokens that a source is limited to by `limit_tokens`; a domain's limit is split by its sources' tokens."""
    limits: dict[str, int] = {}
    for key, limit in recipe.limit_tokens.items():
        members = _members(recipe, f"limit_tokens.{key}", key, sizes)
        total = sum(size.tokens for size in members)
        limits |= {size.name: max(1, limit * size.tokens // total) for size in members if limit < total}
    return limits


def _members(recipe: Recipe, field: str, key: str, sizes: Sequence[SourceSize]) -> list[SourceSize]:
    """The source named `key`, or else the sources of the domain `key`."""
    members = [size for size in sizes if size.name == key] or [size for size in sizes if size.domain == key]
    if not any(size.tokens for size in members):
        known = sorted({size.name for size in sizes} | {size.domain for size in sizes})
        raise UserError(
            f"recipe {recipe.name}, field `{field}`: the corpus has no text of a source or domain of that name; it has "
            f"{', '.join(known)}."
        )
    return members


def largest_remainder(shares: dict[str, float], total: int) -> dict[str, int]:
    """Integers in proportion to `shares` that add up to exactly `total`, each within one of its exact quota."""
    weight = sum(map(Fraction, shares.values()))  # exact: floats would misplace samples in budgets of 10^12 tokens
    quotas = {name: Fraction(share) / weight * total for name, share in shares.items()}
    counts = {name: int(quota) for name, quota in quotas.items()}
    by_remainder = sorted(quotas, key=lambda name: (counts[name] - quotas[name], name))
    for name in by_remainder[: total - sum(counts.values())]:
        counts[name] += 1
    return counts


def expected_sizes(recipe: Recipe) -> list[SourceSize]:
    """The sizes that the recipe states, for planning before the shards exist."""
    sizes = [SourceSize(name, name, tokens) for name, tokens in recipe.expected_tokens.items()]
    return limited_sizes(recipe, sizes)


def limited_sizes(recipe: Recipe, sizes: Sequence[SourceSize]) -> list[SourceSize]:
    """`sizes` with no source above its limit."""
    limits = source_limits(recipe, sizes)
    return [size._replace(tokens=min(size.tokens, limits.get(size.name, size.tokens))) for size in sizes]


def _check_epochs(
    recipe: Recipe,
    number: int,
    sizes: Sequence[SourceSize],
    read: dict[str, int],
    asked: dict[str, int],
    shares: dict[str, float],
) -> None:
    """Refuse the first phase in which a source exceeds max_epochs, with the largest budget that does not."""
    left = {size.name: recipe.max_epochs * size.tokens - read[size.name] for size in sizes}
    worst = min(asked, key=lambda name: left[name] - asked[name])
    if asked[worst] <= left[worst]:
        return
    phase = recipe.phase(number)
    feasible = max(0, int(min(left[name] / share for name, share in shares.items())))
    size = next(size for size in sizes if size.name == worst)
    raise UserError(
        f"recipe {recipe.name}, field `phases.{number}.token_budget`: phase {phase.name} asks for {asked[worst]:,} "
        f"tokens of {worst}, but of its {size.tokens:,} tokens, read at most {recipe.max_epochs:g} times over all "
        f"phases, {max(0, int(left[worst])):,} are left; with this mixture the phase can have at most "
        f"{feasible:,} tokens (or lower the share of {worst}, or raise max_epochs)."
    )


def _planned(
    recipe: Recipe, number: int, phase: Phase, sources: dict[str, PlannedSource], cluster: Cluster | None
) -> PlannedPhase:
    try:
        batch = batch_identity(phase, cluster.world_size) if cluster else None
    except ValueError as error:
        raise UserError(f"recipe {recipe.name}: {error}.") from error
    return PlannedPhase(
        number=number,
        name=phase.name,
        token_budget=phase.token_budget,
        sequence_length=phase.sequence_length,
        global_batch_size=phase.global_batch_size,
        iterations=phase.iterations,
        samples=phase.samples,
        tokens=phase.samples * phase.sequence_length,
        warmup_iterations=phase.warmup_iterations,
        schedule=phase.schedule,
        batch=batch,
        sources=sources,
    )
