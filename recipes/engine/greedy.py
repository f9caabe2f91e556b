"""Greedy continuations by the model that trains, in the layout that trains: whole forward passes, no cache."""

from collections.abc import Sequence
from typing import Any

import torch
from megatron.core import parallel_state
from torch import Tensor

from recipes.engine.forward import Rows, is_last_stage, logits


def continuations(
    chunks: Any, prompts: Sequence[Sequence[int]], new_tokens: int, end: int, micro_batch_tokens: int
) -> list[list[int]]:
    """At most `new_tokens` ids behind each of `prompts`, without `end`, which ends one; the same on every rank.

    Every replica does all of it. A row is as long from the first token on as it may get: what follows its last token
    so far, a causal model cannot see.

    Args:
        chunks: the strategy's `megatron_parallel`.
        micro_batch_tokens: as many as there are logits for at a time in training.
    """
    unit = parallel_state.get_tensor_model_parallel_world_size()
    length = -(-(max(map(len, prompts)) + new_tokens) // unit) * unit
    texts = [list(prompt) for prompt in prompts]
    going = list(range(len(texts)))
    for _ in range(new_tokens):
        found = _next_ids(chunks, texts, length, micro_batch_tokens)
        for number in going:
            texts[number].append(found[number])
        going = [number for number in going if texts[number][-1] != end]
        if not going:
            break
    added = [text[len(prompt) :] for text, prompt in zip(texts, prompts, strict=True)]
    return [ids[: ids.index(end)] if end in ids else ids for ids in added]


def _next_ids(chunks: Any, texts: Sequence[Sequence[int]], length: int, micro_batch_tokens: int) -> list[int]:
    """The most probable next id of every text."""
    rows = max(1, min(len(texts), micro_batch_tokens // length))
    batches = [_rows(texts[first : first + rows], rows, length) for first in range(0, len(texts), rows)]
    found = logits(chunks, batches, lambda output, last: _most_probable(output[last.bool()]))
    ids = torch.full([len(batches) * rows], -1, dtype=torch.int64).cuda()
    if is_last_stage():
        ids[:] = torch.cat(found)
    torch.distributed.all_reduce(ids, op=torch.distributed.ReduceOp.MAX)
    return ids.tolist()[: len(texts)]


def _rows(texts: Sequence[Sequence[int]], rows: int, length: int) -> Rows:
    """`counted` is 1 at the last token of every row; rows that fill up the last micro batch have one token."""
    tokens, last = (torch.zeros(rows, length, dtype=torch.int64) for _ in range(2))
    for row in range(rows):
        text = texts[row] if row < len(texts) else [0]
        tokens[row, : len(text)] = torch.tensor(text)
        last[row, len(text) - 1] = 1
    return Rows(tokens, tokens, last)


def _most_probable(scores: Tensor) -> Tensor:
    """The id of the largest of scores [rows, this rank's part of the vocabulary] over all parts: int64 [rows]."""
    group = parallel_state.get_tensor_model_parallel_group()
    best, ids = scores.float().max(dim=-1)
    ids += parallel_state.get_tensor_model_parallel_rank() * scores.size(-1)
    parts = []
    for mine in (best, ids):
        of_all = [torch.empty_like(mine) for _ in range(group.size())]
        torch.distributed.all_gather(of_all, mine, group=group)
        parts.append(torch.stack(of_all))  # [ranks, rows]
    return parts[1].gather(0, parts[0].argmax(dim=0, keepdim=True))[0]
