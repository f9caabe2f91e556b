"""Transformer layers for machines without Transformer Engine: SDPA core attention and an own RMSNorm.

Works on CPU and CUDA. Megatron-Core's own local parts build a dense attention mask and refuse sequence parallelism.
"""

import contextlib
from typing import Any

import torch
from megatron.core.models.gpt.gpt_layer_specs import get_gpt_layer_local_spec
from megatron.core.transformer.enums import AttnMaskType
from megatron.core.transformer.spec_utils import ModuleSpec
from megatron.core.transformer.transformer_config import TransformerConfig
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from recipes.engine.documents import packed, unpacked


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
    [sequence, batch, heads · head_dim]. `attention_mask` is None, or the borders of the documents that attention stays
    inside: `recipes.engine.documents.cu_seqlens`.
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
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attention_mask: torch.Tensor | None,
        *args: Any,
        **kwargs: Any,
    ) -> torch.Tensor:
        if attention_mask is not None:
            return _inside_documents(query, key, value, attention_mask)
        context = _causal(*(tensor.permute(1, 2, 0, 3) for tensor in (query, key, value)))
        return context.permute(2, 0, 1, 3).flatten(2)


def _causal(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """[…, heads, sequence, head_dim] of all three, or fewer heads of key and value; returns that of query."""
    grouped = query.size(-3) != key.size(-3)
    with _best_kernels(query):
        return functional.scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=grouped)


def _best_kernels(query: torch.Tensor) -> contextlib.AbstractContextManager[None]:
    """On Hopper cuDNN's attention first, about twice as fast for training as torch's own choice (transformers, pull
    request 48163); what it does not take, the others do. Not yet run: no GPU was at hand.
    """
    if not query.is_cuda or torch.cuda.get_device_capability(query.device) != (9, 0):
        return contextlib.nullcontext()
    kernels = [SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
    return sdpa_kernel(kernels, set_priority=True)


def _inside_documents(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, cu_seqlens: torch.Tensor
) -> torch.Tensor:
    """A causal attention for every document, which costs what that one does."""
    length, batch = query.shape[:2]
    query, key, value = packed(query), packed(key), packed(value)
    if query.is_cuda and query.dtype != torch.float32 and torch.__version__ >= "2.12":
        return unpacked(flash_attention(query, key, value, cu_seqlens, length), batch)
    lengths = cu_seqlens.diff().tolist()
    documents = zip(*(tensor.transpose(0, 1).split(lengths, dim=1) for tensor in (query, key, value)), strict=True)
    context = torch.cat([_causal(*document) for document in documents], dim=1)
    return unpacked(context.transpose(0, 1), batch)


def flash_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, cu_seqlens: torch.Tensor, longest: int
) -> torch.Tensor:
    """All documents in one kernel, which CPUs and fp32 have not. Not yet run: no GPU was at hand.

    Takes query, key, value [tokens, heads, head_dim] and no document beyond `longest` tokens; returns query's shape.
    """
    from torch.nn.attention.varlen import varlen_attn  # with this signature since torch 2.12

    ends = cu_seqlens, cu_seqlens, longest, longest
    context = varlen_attn(query, key, value, *ends, window_size=(-1, 0), enable_gqa=True)  # (-1, 0): causal
    assert isinstance(context, torch.Tensor)  # a tuple if asked for more
    return context


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
