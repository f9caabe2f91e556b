"""What every source gives to a phase: from the shares that a recipe asks, in integers that add up."""

from collections.abc import Sequence
from fractions import Fraction

from recipes.errors import UserError
from recipes.readings import SourceSize
from recipes.schema import Phase, Recipe


def minimum_of(phase: Phase, size: SourceSize) -> int:
    """Tokens that a document must have to be read in `phase`; a source's own minimum wins over its domain's."""
    by_name = phase.minimum_document_tokens
    return by_name.get(size.name, by_name.get(size.domain, 1))


def source_shares(recipe: Recipe, number: int, sizes: Sequence[SourceSize]) -> dict[str, float]:
    """Share of each source in a phase: a key of `mixture` is a source, or a domain split by its sources' tokens.

    Tokens are counted in documents that are long enough for the phase.
    """
    phase, field = recipe.phase(number), f"phases.{number}"
    shares: dict[str, float] = {}
    for key, share in phase.mixture.items():
        members = _members(recipe, f"{field}.mixture.{key}", key, sizes)
        tokens = {size.name: size.at_least(minimum_of(phase, size)) for size in members}
        if not any(tokens.values()):
            minimum = min(minimum_of(phase, size) for size in members)
            raise UserError(
                f"recipe {recipe.name}, field `{field}.minimum_document_tokens`: no document of {key} has at least "
                f"{minimum:,} tokens; lower it, or leave {key} out of the phase."
            )
        for name in tokens:
            if name in shares:
                raise UserError(
                    f"recipe {recipe.name}, field `{field}.mixture`: source {name} is named twice, by "
                    f"itself and by its domain; name one of them."
                )
            shares[name] = share * tokens[name] / sum(tokens.values())
    shares = {name: share for name, share in shares.items() if share > 0}
    for key in phase.minimum_document_tokens:
        members = _members(recipe, f"{field}.minimum_document_tokens.{key}", key, sizes)
        if not shares.keys() & {size.name for size in members}:
            raise UserError(
                f"recipe {recipe.name}, field `{field}.minimum_document_tokens.{key}`: the phase reads nothing of it; "
                f"add {key} to its mixture, or take the minimum away."
            )
    return shares


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
