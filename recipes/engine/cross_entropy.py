"""Cross entropy over a vocabulary that may be split over tensor-parallel ranks, without fp32 copies of the logits.

Megatron-Core's own keeps the softmax in fp32 for the backward pass, and reads or writes the logits a dozen times on the
way: 52 bytes per logit in bf16. This one keeps the logits as they are, computes the softmax again from them, and leaves
the gradient in their place. The order of operations is upstream's, so in fp32 the losses and gradients are the same to
the last bit.
"""

from typing import Any

import torch
from torch import Tensor
from torch.distributed import ProcessGroup, ReduceOp, all_reduce

from recipes.engine.fused import compiled


def cross_entropy(logits: Tensor, labels: Tensor, group: ProcessGroup) -> Tensor:
    """Losses of labels [...], fp32, from logits [..., this rank's part of the vocabulary].

    The backward pass overwrites the logits, so there can be one, and nothing else may need them by then.
    """
    losses: Tensor = _CrossEntropy.apply(logits, labels, group)
    return losses


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, logits: Tensor, labels: Tensor, group: ProcessGroup) -> Tensor:
        column = labels - group.rank() * logits.size(-1)  # of the label, in this rank's part if it is there
        highest = _highest(logits)
        all_reduce(highest, ReduceOp.MAX, group)
        total, label = _sums(logits, highest, column)
        all_reduce(total, ReduceOp.SUM, group)
        all_reduce(label, ReduceOp.SUM, group)
        context.save_for_backward(logits, column, highest, total)
        return total.log() - label

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        logits, column, highest, total = context.saved_tensors
        here, place = _place(logits, column)
        label = (logits.gather(-1, place).squeeze(-1).float() - highest).exp() / total - here.float()
        _become_softmax_times(logits, highest, total, gradients[0])
        at_label = (label * gradients[0]).to(logits.dtype).unsqueeze(-1)
        return logits.scatter_(-1, place, at_label), None, None


@compiled
def _highest(logits: Tensor) -> Tensor:
    return logits.amax(dim=-1).float()


@compiled
def _sums(logits: Tensor, highest: Tensor, column: Tensor) -> tuple[Tensor, Tensor]:
    """Of this rank's part: the sum of exponentials, and the label's logit less the highest (0 if it is elsewhere)."""
    here, place = _place(logits, column)
    label = logits.gather(-1, place).squeeze(-1).float() - highest
    return torch.sub(logits, highest.unsqueeze(-1)).exp_().sum(dim=-1), torch.where(here, label, 0.0)


@compiled
def _become_softmax_times(logits: Tensor, highest: Tensor, total: Tensor, gradient: Tensor) -> None:
    """Overwrite the logits with what their gradient is everywhere but at the label."""
    softmax = torch.sub(logits, highest.unsqueeze(-1)).exp_().div_(total.unsqueeze(-1))  # fp32, as `highest` is
    logits.copy_(softmax.mul_(gradient.unsqueeze(-1)))


def _place(logits: Tensor, column: Tensor) -> tuple[Tensor, Tensor]:
    """Whether the label is in this rank's part, and a column [..., 1] that exists in any case."""
    size = logits.size(-1)
    return (column >= 0) & (column < size), column.clamp(0, size - 1).unsqueeze(-1)
