"""The arithmetic of a curriculum: recipe + source sizes -> exact integers per phase and source."""

from collections.abc import Sequence

from recipes.cluster import BatchIdentity, Cluster, batch_on
from recipes.errors import UserError
from recipes.readings import SourceSize, unread
from recipes.schema import Packing, Phase, Recipe, Schedule, Strict
from recipes.shares import largest_remainder, minimum_of, source_limits, source_shares


class PlannedSource(Strict):
    """One source in one phase."""

    share: float  # of the phase's samples, as the recipe asks
    samples: int  # sequences
    tokens: int
    minimum_document_tokens: int = 1  # of a document; 1: any
    epochs: float  # times the source is read in this phase
    epochs_so_far: float  # and up to the end of it
    most_readings: float = 0.0  # times that documents of the length that is read most are read up to the end of it


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
    packing: Packing = "concatenate"
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
    readings = {size.name: unread(size, {minimum_of(phase, size) for phase in recipe.phases}) for size in sizes}
    beyond = dict.fromkeys(readings, 0)  # tokens that slices may list beyond what they give: documents stay whole
    phases = []
    for number, phase in enumerate(recipe.phases, 1):
        shares = source_shares(recipe, number, sizes)
        minimums = {size.name: minimum_of(phase, size) for size in sizes if size.name in shares}
        samples = largest_remainder(shares, phase.samples)
        left = {name: readings[name].left(minimums[name], recipe.max_epochs) - beyond[name] for name in shares}
        _check_epochs(recipe, number, sizes, shares, left)
        sources = {}
        for name, share in shares.items():
            asked = samples[name] * phase.sequence_length
            readings[name] = readings[name].after(minimums[name], asked)
            beyond[name] += phase.sequence_length if samples[name] else 0
            tokens = sum(readings[name].tokens)
            sources[name] = PlannedSource(
                share=share,
                samples=samples[name],
                tokens=asked,
                minimum_document_tokens=minimums[name],
                epochs=asked / tokens,
                epochs_so_far=float(sum(readings[name].read) / tokens),
                most_readings=readings[name].most,
            )
        phases.append(_planned(recipe, number, phase, sources, cluster))
    return Plan(recipe=recipe.name, seed=recipe.seed, phases=phases)


def expected_sizes(recipe: Recipe) -> list[SourceSize]:
    """The sizes that the recipe states, for planning before the shards exist."""
    sizes = [SourceSize(name, name, tokens) for name, tokens in recipe.expected_tokens.items()]
    return limited_sizes(recipe, sizes)


def limited_sizes(recipe: Recipe, sizes: Sequence[SourceSize]) -> list[SourceSize]:
    """`sizes` with no source above its limit."""
    limits = source_limits(recipe, sizes)
    return [size._replace(tokens=min(size.tokens, limits.get(size.name, size.tokens))) for size in sizes]


def _check_epochs(
    recipe: Recipe, number: int, sizes: Sequence[SourceSize], shares: dict[str, float], left: dict[str, int]
) -> None:
    """Refuse a phase that asks for more than what is `left` of a source, with the largest budget that does not."""
    phase = recipe.phase(number)
    if not (missing := _missing(phase, shares, left, phase.iterations)):
        return
    feasible, refused = 0, phase.iterations
    while refused - feasible > 1:
        middle = (feasible + refused) // 2
        feasible, refused = (feasible, middle) if _missing(phase, shares, left, middle) else (middle, refused)
    worst = max(missing, key=lambda name: (missing[name], name))
    size = next(size for size in sizes if size.name == worst)
    minimum = minimum_of(phase, size)
    long = f" in documents of at least {minimum:,} tokens" if minimum > 1 else ""
    lower = ", or its minimum_document_tokens" if minimum > 1 else ""
    asked, all_tokens = left[worst] + missing[worst], size.at_least(minimum)
    raise UserError(
        f"recipe {recipe.name}, field `phases.{number}.token_budget`: phase {phase.name} asks for "
        f"{asked:,} tokens of {worst}{long}, but of its {all_tokens:,} tokens{long}, read at most "
        f"{recipe.max_epochs:g} times over all phases, {left[worst]:,} are left; with this mixture the phase can have "
        f"at most {feasible * phase.tokens_per_iteration:,} tokens (or lower the share of {worst}{lower}, or raise "
        f"max_epochs)."
    )


def _missing(phase: Phase, shares: dict[str, float], left: dict[str, int], iterations: int) -> dict[str, int]:
    """Tokens by which `iterations` steps ask for more than what is left, of each source that they do.

    A slice may list up to one sequence more than it gives.
    """
    samples = largest_remainder(shares, iterations * phase.global_batch_size)
    asked = {name: (count + 1) * phase.sequence_length for name, count in samples.items() if count}
    return {name: tokens - left[name] for name, tokens in asked.items() if tokens > left[name]}


def _planned(
    recipe: Recipe, number: int, phase: Phase, sources: dict[str, PlannedSource], cluster: Cluster | None
) -> PlannedPhase:
    try:
        batch = batch_on(phase, cluster) if cluster else None
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
        packing=phase.packing,
        batch=batch,
        sources=sources,
    )
