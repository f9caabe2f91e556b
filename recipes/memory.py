"""Bytes of GPU memory that one rank of a Qwen3 training needs, by part: arithmetic alone, no torch.

Megatron-Core with its distributed optimizer, flash attention, and sequence parallelism wherever tensor parallelism is.
"""

import math
from dataclasses import dataclass

from recipes.schema import Recompute
from recipes.shape import Qwen3Shape

VOCABULARY_MULTIPLE = 128  # as recipes.engine.vocabulary pads it
RESERVE = 4_000_000_000  # CUDA context, NCCL's buffers, cuBLAS workspaces, fragmentation: a guess, on the safe side

WEIGHT = 2  # bytes, bf16
MASTER = 12  # bytes per parameter of an optimizer shard: fp32 weight and two moments
LOGIT = 10  # bytes: bf16 out, fp32 softmax, fp32 gradient


@dataclass(frozen=True)
class Memory:
    """Bytes on one rank at the moment when most are needed."""

    weights: int
    gradients: int
    optimizer: int
    activations: int
    logits: int
    reserve: int = RESERVE

    @property
    def total(self) -> int:
        """All parts together."""
        return sum(vars(self).values())


def rank_memory(
    shape: Qwen3Shape,
    *,
    sequence_length: int,
    micro_batch: int,
    accumulation: int = 1,
    data: int = 1,
    tensor: int = 1,
    pipeline: int = 1,
    context: int = 1,
    stage: int = 0,
    recompute: Recompute = "none",
    loss_chunk_tokens: int | None = None,
    gradient_bytes: int = 4,
) -> Memory:
    """What a rank of pipeline stage `stage` (from 0) holds, in bf16-mixed precision.

    Args:
        data: data-parallel size; optimizer shards are split over data × context ranks.
        recompute: `selective` computes the feed-forward block of each layer again, `full` whole layers.
        loss_chunk_tokens: logits exist for so many tokens at a time; None for all.
        gradient_bytes: 4 if gradients are added up and reduced in fp32, 2 for bf16.
    """
    parameters = rank_parameters(shape, tensor, pipeline, stage)
    tokens = micro_batch * sequence_length // context
    logits = 0
    if stage == pipeline - 1:
        logits = LOGIT * min(tokens, loss_chunk_tokens or tokens) * padded_vocabulary(shape) // tensor
    in_flight = min(accumulation, pipeline - stage)  # micro batches between their forward and backward pass (1F1B)
    return Memory(
        weights=WEIGHT * parameters,
        gradients=gradient_bytes * parameters,
        optimizer=math.ceil(MASTER * parameters / (data * context)),
        activations=_activations(shape, tokens, in_flight, tensor, pipeline, recompute),
        logits=logits,
    )


def rank_parameters(shape: Qwen3Shape, tensor: int = 1, pipeline: int = 1, stage: int = 0) -> int:
    """Parameters on one rank: matrices split by `tensor`, norms on all, embeddings at the pipeline's two ends.

    The last stage of a pipeline holds a copy of tied embeddings.
    """
    query, key_value = _widths(shape)
    matrices = shape.hidden_size * (2 * query + 2 * key_value + 3 * shape.intermediate_size) // tensor
    layers = shape.num_hidden_layers // pipeline * (matrices + 2 * shape.hidden_size + 2 * shape.head_dim)
    last = stage == pipeline - 1
    embedding = padded_vocabulary(shape) * shape.hidden_size // tensor
    copies = (stage == 0) + (last and (pipeline > 1 or not shape.tie_word_embeddings))
    return layers + copies * embedding + last * shape.hidden_size


def padded_vocabulary(shape: Qwen3Shape) -> int:
    """Rows of the embedding matrix in training."""
    return -(-shape.vocab_size // VOCABULARY_MULTIPLE) * VOCABULARY_MULTIPLE


def _activations(
    shape: Qwen3Shape, tokens: int, in_flight: int, tensor: int, pipeline: int, recompute: Recompute
) -> int:
    """bf16 tensors that a layer keeps for its backward pass, after Korthikanti et al. 2022 (arXiv 2205.05198), with
    flash attention (no square) and SwiGLU: inputs and outputs of both norms; q, k, v before and after their own norms
    and rotation; attention's output; the two halves of the gate and their product.
    """
    query, key_value = _widths(shape)
    attention = 3 * query + 3 * key_value + 2 * shape.num_attention_heads  # the last: fp32 log-sum-exp
    feed_forward = 3 * shape.intermediate_size
    whole = 4 * shape.hidden_size + attention + feed_forward
    kept, again = {
        "none": (whole, 0),
        "selective": (whole - feed_forward, feed_forward),
        "full": (shape.hidden_size, whole),
    }[recompute]
    layers = shape.num_hidden_layers // pipeline
    return 2 * tokens * (kept * layers * in_flight + again) // tensor


def _widths(shape: Qwen3Shape) -> tuple[int, int]:
    return shape.num_attention_heads * shape.head_dim, shape.num_key_value_heads * shape.head_dim
