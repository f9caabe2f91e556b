"""The loss of the model that trains on windows of held-out text, which the data-parallel ranks share."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from megatron.core import parallel_state
from torch import Tensor

from recipes.engine.forward import Rows, is_last_stage, losses
from recipes.engine.held_out_windows import Window

SHORTEST = 32  # tokens; shorter windows are filled up to this many


class Group(NamedTuple):
    """Windows of like length, padded to the same: numbers into all windows, and the tokens that each has then."""

    windows: list[int]
    length: int


def window_losses(chunks: Any, windows: Sequence[Window], micro_batch_tokens: int) -> Tensor:
    """The summed loss of every window: float64 [windows], nats, the same on every rank.

    Padding stands at the end, where a causal model cannot see it from the tokens that count.

    Args:
        chunks: the strategy's `megatron_parallel`.
        micro_batch_tokens: as many as a micro batch has in training.
    """
    sums = torch.zeros(len(windows), dtype=torch.float64).cuda()
    replicas = parallel_state.get_data_parallel_world_size()
    for group in groups(windows, _unit()):
        mine = group.windows[parallel_state.get_data_parallel_rank() :: replicas]
        largest = -(-len(group.windows) // replicas)  # number of windows that a rank has
        rows = max(1, min(largest, micro_batch_tokens // group.length))
        batches = list(_micro_batches(windows, mine, largest, rows, group.length))
        found = losses(chunks, batches, lambda output, counted: (output.double() * counted).sum(dim=1))
        if is_last_stage() and parallel_state.get_tensor_model_parallel_rank() == 0:
            sums[mine] = torch.cat(found)[: len(mine)]
    torch.distributed.all_reduce(sums)  # each has one rank's number, or of context-parallel ranks the parts
    return sums.cpu()


def groups(windows: Sequence[Window], unit: int) -> list[Group]:
    """All windows by length, rounded up to a power of two and that to `unit`, longest first."""
    longest = max(len(window.tokens) - 1 for window in windows)
    found: dict[int, list[int]] = {}
    for number, window in enumerate(windows):
        power = max(SHORTEST, 1 << (len(window.tokens) - 2).bit_length())
        found.setdefault(-(-min(power, longest) // unit) * unit, []).append(number)
    return [Group(found[length], length) for length in sorted(found, reverse=True)]


def _unit() -> int:
    """What a sequence length must be a multiple of to be split over ranks."""
    context = parallel_state.get_context_parallel_world_size()
    return int(parallel_state.get_tensor_model_parallel_world_size() * (2 * context if context > 1 else 1))


def _micro_batches(
    windows: Sequence[Window], mine: Sequence[int], count: int, rows: int, length: int
) -> Iterator[Rows]:
    """`count` windows and what fills up the last micro batch: `mine`, and empty ones where these are fewer."""
    for first in range(0, count, rows):
        tokens, labels, counted = (torch.zeros(rows, length, dtype=torch.int64) for _ in range(3))
        for row, number in enumerate(mine[first : first + rows]):
            text = torch.from_numpy(windows[number].tokens)
            used = len(text) - 1
            tokens[row, :used], labels[row, :used], counted[row, :used] = text[:-1], text[1:], 1
        yield Rows(tokens, labels, counted)


def mean_losses(windows: Sequence[Window], sums: Tensor, names: Sequence[str]) -> dict[str, float]:
    """The token-weighted mean loss of all windows of each name, nats per token; `names` [windows]."""
    table: dict[str, list[float]] = {}
    for name, window, total in zip(names, windows, sums.tolist(), strict=True):
        row = table.setdefault(name, [0.0, 0.0])
        row[0] += total
        row[1] += len(window.tokens) - 1
    return {name: total / tokens for name, (total, tokens) in sorted(table.items())}
