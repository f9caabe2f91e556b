"""Document masking with Transformer Engine's attention. Not yet run with it: no machine with it was at hand.

A module of its own, because without Transformer Engine there is no class to inherit from.
"""

from typing import Any

from megatron.core.extensions.transformer_engine import TEDotProductAttention
from megatron.core.packed_seq_params import PackedSeqParams
from torch import Tensor

from recipes.engine.documents import packed, unpacked


class DocumentAttention(TEDotProductAttention):
    """TEDotProductAttention whose `attention_mask` is `cu_seqlens` [documents + 1].

    Takes and returns what it does without documents, [sequence, batch, …]; in between it is the `thd` layout that
    Transformer Engine has for them. A subclass, so that checkpoints have the same names with and without masking.
    """

    def forward(self, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor, **kwargs: Any) -> Tensor:
        length, batch = query.shape[:2]
        # No document is longer than a sample. The longest one itself would have to be asked of the GPU.
        kwargs["packed_seq_params"] = PackedSeqParams(
            qkv_format="thd",
            cu_seqlens_q=attention_mask,
            cu_seqlens_kv=attention_mask,
            max_seqlen_q=length,
            max_seqlen_kv=length,
        )
        context = super().forward(packed(query), packed(key), packed(value), None, **kwargs)
        return unpacked(context, batch)
