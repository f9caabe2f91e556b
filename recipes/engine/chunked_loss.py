"""Cross entropy a chunk of tokens at a time, so that the logits of a long sequence are never whole.

32,768 tokens over 151,936 ids are 20 GB in fp32. Here the logits of a chunk live while its loss is computed, and once
more in the backward pass, which computes them again.
"""

import functools
from dataclasses import dataclass
from typing import Any

import torch
from megatron.core.models.gpt import GPTModel
from torch.distributed import ProcessGroup
from torch.utils.checkpoint import checkpoint

from recipes.engine.cross_entropy import cross_entropy
from recipes.engine.vocabulary import PaddedQwen3Config


@dataclass
class ChunkedQwen3Config(PaddedQwen3Config):
    """PaddedQwen3Config whose model computes its loss for `loss_chunk_tokens` tokens at a time; None: for all."""

    loss_chunk_tokens: int | None = None

    def configure_model(self, *args: Any, **kwargs: Any) -> GPTModel:
        model = super().configure_model(*args, **kwargs)
        if model.post_process and self.bf16 and not self.cross_entropy_loss_fusion:
            model.compute_language_model_loss = functools.partial(_loss, model.pg_collection.tp)
        if model.post_process and self.loss_chunk_tokens:
            # megatron/core/models/gpt/gpt_model.py, the end of GPTModel.forward: logits, then their loss
            model._postprocess = functools.partial(_end_of_forward, model, model._postprocess, self.loss_chunk_tokens)
        return model


def _loss(group: ProcessGroup, labels: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """In the place of megatron/core/models/common/language_module/language_module.py, compute_language_model_loss."""
    return cross_entropy(logits, labels.t().contiguous(), group).t().contiguous()


def _end_of_forward(
    model: GPTModel, whole: Any, tokens: int, *, hidden_states: torch.Tensor, labels: torch.Tensor | None, **others: Any
) -> torch.Tensor:
    if labels is None:
        return whole(hidden_states=hidden_states, labels=None, **others)
    return chunked_loss(model, hidden_states, labels, tokens)


def chunked_loss(model: GPTModel, hidden: torch.Tensor, labels: torch.Tensor, tokens: int) -> torch.Tensor:
    """Losses [batch, sequence] of labels [batch, sequence], from hidden [sequence, batch, hidden_size].

    Under sequence parallelism every rank holds a part of the sequence, [sequence / ranks, batch, hidden_size]. The
    output layer gathers them, so a chunk is the same rows of every rank's part. Where no kernel adds to Megatron's
    fp32 gradient buffer itself, the output matrix sums its gradient over chunks in its own dtype.
    """
    layer = model.output_layer
    weight = model.shared_embedding_or_output_weight() if model.share_embeddings_and_output_weights else None
    rows, batch = hidden.shape[:2]
    ranks = layer.tp_group.size() if layer.sequence_parallel else 1
    step = max(1, tokens // (ranks * batch))

    def loss(hidden: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        logits, _ = layer(hidden, weight=weight)
        return model.compute_language_model_loss(labels.flatten(1), logits).view_as(labels)

    chunks = zip(hidden.split(step), labels.view(batch, ranks, rows).split(step, dim=-1), strict=True)
    losses = [checkpoint(loss, *chunk, use_reentrant=False, preserve_rng_state=False) for chunk in chunks]
    return torch.cat(losses, dim=-1).flatten(1)
