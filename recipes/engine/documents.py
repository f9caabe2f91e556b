"""Document masking: no token attends to another document of its sample. Where documents begin goes to every layer.

Megatron-Core carries a batch's `attention_mask` to the attention of every layer of every pipeline stage, through
recomputation too. Here it is no mask but `cu_seqlens`, the borders of documents, as flash attention calls them. The
other way, `packed_seq_params`, lays the batch out as one sequence: one sample per micro batch then, and a shape that
pipeline stages do not exchange. So only attention itself sees documents in a row.

Rotary angles count from the start of the sample, in the documents alone from theirs: attention depends on differences
of positions only (Su et al. 2021, RoFormer), so both are equal up to the rounding of angles in fp32. It moves scores
by 5e-5 at position 512 and by 0.0016 at 32,256, where bf16 itself rounds cosines by 0.002.
"""

from collections.abc import Iterator
from typing import Any

import torch
from megatron.core.transformer.spec_utils import ModuleSpec
from nemo.collections.llm.gpt.model.base import default_layer_spec, gpt_data_step
from torch import Tensor


def document_fields(transformer_engine: bool) -> dict[str, Any]:
    """The arguments of `PaddedQwen3Config` that turn document masking on, for batches with restarting positions."""
    fields: dict[str, Any] = {"data_step_fn": document_data_step, "forward_step_fn": document_forward_step}
    return {**fields, **({"transformer_layer_spec": document_layer_spec} if transformer_engine else {})}


def cu_seqlens(position_ids: Tensor) -> Tensor:
    """Borders of documents, int32 [documents + 1], in the samples laid end to end; 0 first, then every document's end.

    Args:
        position_ids: [batch, sequence], 0 at the first token of every document and sample, as Megatron's datasets with
            `reset_position_ids` number them.
    """
    starts = (position_ids.flatten() == 0).nonzero().flatten()
    return torch.nn.functional.pad(starts, (0, 1), value=position_ids.numel()).int()


def packed(states: Tensor) -> Tensor:
    """[sequence, batch, heads, head_dim] -> [batch · sequence, heads, head_dim], sample after sample: `thd`."""
    return states.transpose(0, 1).flatten(0, 1)


def unpacked(context: Tensor, batch: int) -> Tensor:
    """[batch · sequence, heads, head_dim], or with the last two as one, -> [sequence, batch, heads · head_dim]."""
    return context.reshape(batch, len(context) // batch, -1).transpose(0, 1).contiguous()


def document_data_step(batches: Iterator[Any]) -> dict[str, Any]:
    """NeMo's `gpt_data_step`, and under `cu_seqlens` the borders of documents, on every pipeline stage.

    They are found before the batch is on a GPU, which nobody has to wait for so.
    """
    item = next(batches)
    batch = item[0] if isinstance(item, tuple) else item  # Lightning: (batch, its number, that of the loader)
    borders = cu_seqlens(batch["position_ids"])
    return {**gpt_data_step(iter([batch])), "cu_seqlens": borders.cuda(non_blocking=True)}


def document_forward_step(model: Any, batch: dict[str, Tensor]) -> Tensor:
    """NeMo's `gpt_forward_step` with `cu_seqlens` for a mask. Returns losses [batch, sequence]."""
    return model(
        input_ids=batch["tokens"],
        position_ids=batch["position_ids"],
        attention_mask=batch["cu_seqlens"],
        labels=batch["labels"],
    )


def document_layer_spec(config: Any) -> ModuleSpec:
    """NeMo's layer spec for Transformer Engine with an attention that stays inside documents."""
    from recipes.engine.engine_attention import DocumentAttention

    spec = default_layer_spec(config)
    spec.submodules.self_attention.submodules.core_attention = DocumentAttention
    return spec
