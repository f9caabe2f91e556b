"""Transformer layers for machines without Transformer Engine: SDPA core attention and an own RMSNorm.

Works on CPU and CUDA. Megatron-Core's own local parts build a dense attention mask and refuse sequence parallelism.
"""

from typing import Any

import torch
from megatron.core.models.gpt.gpt_layer_specs import get_gpt_layer_local_spec
from megatron.core.transformer.enums import AttnMaskType
from megatron.core.transformer.spec_utils import ModuleSpec
from megatron.core.transformer.transformer_config import TransformerConfig
from torch.nn import functional


class RMSNorm(torch.nn.Module):
    """Root-mean-square norm over the last dimension (Zhang & Sennrich 2019), in the input's dtype.

    The weight is marked for sequence parallelism, so that Megatron-Core sums its gradient over the tensor-parallel
    ranks (megatron/core/distributed/finalize_model_grads.py).
    """

    def __init__(self, config: TransformerConfig, hidden_size: int, eps: float = 1e-6, **ignored: Any) -> None:
        super().__init__()
        self.eps = eps
        self.weight = torch.nn.Parameter(torch.ones(hidden_size, dtype=config.params_dtype))
        self.weight.sequence_parallel = config.sequence_parallel  # type: ignore[attr-defined]

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return functional.rms_norm(hidden, self.weight.shape, self.weight, self.eps)


class CausalAttention(torch.nn.Module):
    """Causal self-attention by `scaled_dot_product_attention`, grouped queries included; no mask is ever built.

    Takes query [sequence, batch, heads, head_dim] and key, value [sequence, batch, groups, head_dim]; returns
    [sequence, batch, heads · head_dim].
    """

    def __init__(
        self, config: TransformerConfig, layer_number: int, attn_mask_type: AttnMaskType, *args: Any, **kwargs: Any
    ) -> None:
        super().__init__()
        if config.context_parallel_size > 1:
            raise ValueError("context_parallel > 1 needs Transformer Engine")
        if config.attention_dropout:
            raise ValueError("attention dropout is not part of Qwen3")

    def forward(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        query, key, value = (tensor.permute(1, 2, 0, 3) for tensor in (query, key, value))
        context = functional.scaled_dot_product_attention(
            query, key, value, is_causal=True, enable_gqa=query.size(1) != key.size(1)
        )
        return context.permute(2, 0, 1, 3).flatten(2)


def plain_layer_spec(config: TransformerConfig) -> ModuleSpec:
    """Megatron-Core's local layer spec with the two parts above put in."""
    spec = get_gpt_layer_local_spec(qk_layernorm=config.qk_layernorm, normalization=config.normalization)
    layer = spec.submodules
    layer.input_layernorm = layer.pre_mlp_layernorm = RMSNorm
    attention = layer.self_attention.submodules
    attention.core_attention = CausalAttention
    attention.q_layernorm = attention.k_layernorm = RMSNorm
    return spec


def plain_block_spec(config: TransformerConfig) -> ModuleSpec:
    """Spec of the whole stack; the norm after the last layer is RMSNorm too."""
    from megatron.core.transformer.transformer_block import TransformerBlockSubmodules, get_num_layers_to_build

    layers = [plain_layer_spec(config)] * get_num_layers_to_build(config)
    return TransformerBlockSubmodules(layer_specs=layers, layer_norm=RMSNorm)


def plain_forward_step(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """NeMo's `gpt_forward_step` without its demand for a dense attention mask. Returns losses [batch, sequence]."""
    return model(
        input_ids=batch["tokens"], position_ids=batch["position_ids"], attention_mask=None, labels=batch["labels"]
    )
