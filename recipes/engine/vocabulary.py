"""Rows that pad the vocabulary to a round number take part in no softmax, so that the loss is the unpadded model's."""

from dataclasses import dataclass
from typing import Any

import torch
from megatron.core import parallel_state
from megatron.core.models.gpt import GPTModel
from nemo.collections.llm.gpt.model.qwen3 import Qwen3Config

VOCABULARY_MULTIPLE = 128  # Megatron-Core's make_vocab_size_divisible_by


def padded_vocab_size(vocab_size: int) -> int:
    """Rows of the embedding matrix: the vocabulary rounded up, the same number for every tensor-parallel size."""
    return -(-vocab_size // VOCABULARY_MULTIPLE) * VOCABULARY_MULTIPLE


@dataclass
class PaddedQwen3Config(Qwen3Config):
    """NeMo's Qwen3Config that knows how many of its `vocab_size` rows are tokens. Upstream lets the others compete."""

    real_vocab_size: int = 0

    def configure_model(self, *args: Any, **kwargs: Any) -> GPTModel:
        model = super().configure_model(*args, **kwargs)
        if model.post_process and self.real_vocab_size < self.vocab_size:
            model.output_layer.register_forward_hook(self._close_padding)
        return model

    def _close_padding(self, layer: torch.nn.Module, inputs: Any, outputs: tuple[torch.Tensor, Any]) -> Any:
        """Set this rank's logits [..., its part of the vocabulary] of rows that are no tokens to minus infinity."""
        logits, bias = outputs
        rows = logits.size(-1)
        split = rows < self.vocab_size
        first = rows * parallel_state.get_tensor_model_parallel_rank() if split else 0
        closed = torch.arange(first, first + rows, device=logits.device) >= self.real_vocab_size
        return logits.masked_fill(closed, float("-inf")), bias
