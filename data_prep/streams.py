"""The sources of a run's shards as a recipe reads them."""

from collections.abc import Mapping, Sequence

from data_prep.indexed import Index, read_index
from data_prep.shard_receipts import Receipt, shard_receipts, sizes_of
from data_prep.slices import Stream, limited
from data_prep.tokenize_source import PREFIX
from recipes.layout import RunFolder
from recipes.plan import SourceSize, limited_sizes
from recipes.schema import Recipe
from recipes.shares import minimum_of, source_limits


def read_indices(receipts: Sequence[Receipt], run: RunFolder) -> dict[str, Index]:
    """The index of every source that has documents."""
    names = [receipt["source"] for receipt in receipts if receipt["documents"]]
    return {name: read_index(run.shards / name / PREFIX) for name in names}


def open_streams(recipe: Recipe, receipts: Sequence[Receipt], indices: Mapping[str, Index]) -> dict[str, Stream]:
    """Every source of `indices`, within the recipe's limit_tokens."""
    limits = source_limits(recipe, sizes_of(list(receipts)))
    domains = {receipt["source"]: receipt["domain"] for receipt in receipts}
    return {
        name: Stream(
            name,
            domains[name],
            limited(index.lengths, limits[name], f"{recipe.seed}/{name}/limit") if name in limits else index.lengths,
            recipe.seed,
            recipe.max_epochs,
        )
        for name, index in indices.items()
    }


def sizes_of_streams(recipe: Recipe, streams: Mapping[str, Stream]) -> list[SourceSize]:
    """Tokens per source, and those in documents of the lengths that the recipe asks for."""
    sizes = [SourceSize(name, stream.domain, stream.tokens) for name, stream in streams.items()]
    return [
        size._replace(long={minimum: streams[size.name].tokens_of(minimum) for minimum in _minimums(recipe, size)})
        for size in sizes
    ]


def planning_sizes(recipe: Recipe, run: RunFolder) -> list[SourceSize]:
    """What the shards of `run` hold for `recipe`; empty before they are all built.

    Document lengths are read only where the recipe asks for a minimum.
    """
    receipts = shard_receipts(run)
    if not receipts:
        return []
    sizes = limited_sizes(recipe, sizes_of(receipts))
    if not any(_minimums(recipe, size) for size in sizes):
        return sizes
    return sizes_of_streams(recipe, open_streams(recipe, receipts, read_indices(receipts, run)))


def _minimums(recipe: Recipe, size: SourceSize) -> set[int]:
    return {minimum_of(phase, size) for phase in recipe.phases} - {1}
