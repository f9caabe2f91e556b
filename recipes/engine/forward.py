"""Forward passes of the model that trains, in the layout that trains, through Megatron-Core's own schedules.

They change nothing: no gradient, no random number, no weight; what a rank may hold at once is a micro batch, as in
training, and nothing of it is kept for a backward pass.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from megatron.core import parallel_state
from megatron.core.pipeline_parallel import get_forward_backward_func
from torch import Tensor


class Rows(NamedTuple):
    """One micro batch, all three [rows, length]: token ids, the ids to predict, and 1 where that counts, else 0."""

    tokens: Tensor
    labels: Tensor
    counted: Tensor


Answer = Callable[[Tensor, Tensor], Tensor]  # of the model's output and `counted`, on the last pipeline stage


def losses(chunks: Any, batches: Sequence[Rows], answer: Answer) -> list[Tensor]:
    """`answer` to the losses [rows, length] of every batch; nothing where this rank is not of the last pipeline stage.

    Args:
        chunks: the strategy's `megatron_parallel`.
        batches: of equal shape, which is that of every rank; as many as every other rank of this replica has.
    """
    return _pass(chunks, batches, answer, with_labels=True)


def logits(chunks: Any, batches: Sequence[Rows], answer: Answer) -> list[Tensor]:
    """The same of the logits [rows, length, this rank's part of the vocabulary]."""
    return _pass(chunks, batches, answer, with_labels=False)


@torch.no_grad()
def _pass(chunks: Any, batches: Sequence[Rows], answer: Answer, with_labels: bool) -> list[Tensor]:
    training = chunks.training
    chunks.eval()  # in training mode layers would be prepared to be computed again
    rows, length = batches[0].tokens.shape
    try:
        answers: list[Tensor] = get_forward_backward_func()(
            forward_step_func=partial(_forward, answer, with_labels),
            data_iterator=iter(batches),
            model=chunks.pipeline,
            num_microbatches=len(batches),
            seq_length=length,
            micro_batch_size=rows,
            forward_only=True,
            collect_non_loss_data=True,
        )
    finally:
        chunks.train(training)
    return answers


def _forward(answer: Answer, with_labels: bool, data: Any, model: Any) -> tuple[Tensor, Any]:
    """Megatron-Core's forward step for NeMo's model."""
    rows: Rows = next(data)
    positions = torch.arange(rows.tokens.shape[1]).expand_as(rows.tokens)
    batch = {"tokens": rows.tokens, "labels": rows.labels, "loss_mask": rows.counted, "position_ids": positions}
    batch = model.data_step(iter([batch]))
    if not with_labels:
        batch["labels"] = None
    return model.forward_step(batch), lambda output, non_loss_data: answer(output, batch["loss_mask"])


def is_last_stage() -> bool:
    """Whether this rank has the model's output; its tensor-parallel ranks have the same losses."""
    return bool(parallel_state.is_pipeline_last_stage())
