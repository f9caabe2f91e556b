"""Bytes of memory that one rank of a Qwen3 training needs, by part: arithmetic alone, no torch.

Megatron-Core with its distributed optimizer, flash attention, and sequence parallelism wherever tensor parallelism is.
"""

import math
from dataclasses import dataclass
from typing import Literal

from recipes.activations import FLOAT, Modules, head_widths, layer_activations, logit_bytes, padded_vocabulary
from recipes.schema import Recompute
from recipes.shape import Qwen3Shape

Precision = Literal["bf16-mixed", "32"]

RESERVE = 3_000_000_000  # CUDA context, cuBLAS workspaces, fragmentation: a guess, on the safe side
COMMUNICATOR = 32 * 2 * 4 * 2**20  # NCCL's most channels, to send and to receive, by its own default of NCCL_BUFFSIZE

IDS = 4 * 8  # bytes per token of a batch: tokens, labels, positions, loss mask


@dataclass(frozen=True)
class Memory:
    """Bytes on one rank at the moment when most are needed."""

    weights: int
    gradients: int
    optimizer: int
    activations: int
    logits: int
    buffers: int
    communication: int
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
    precision: Precision = "bf16-mixed",
    modules: Modules = "transformer_engine",
) -> Memory:
    """What a rank of pipeline stage `stage` (from 0) holds.

    Args:
        data: data-parallel size; optimizer shards are split over data × context ranks.
        recompute: `selective` computes the feed-forward block of each layer again, `full` whole layers.
        loss_chunk_tokens: logits exist for so many tokens at a time; None for all.
        gradient_bytes: 4 if gradients are added up and reduced in fp32, 2 for bf16.
        precision: as in a recipe: weights in bf16 with fp32 masters, or everything in fp32.
    """
    width = 2 if precision == "bf16-mixed" else FLOAT
    parameters = rank_parameters(shape, tensor, pipeline, stage)
    last = stage == pipeline - 1
    layer = layer_activations(shape, sequence_length, micro_batch, tensor, context, width, modules)
    tokens = micro_batch * sequence_length // context
    chunk = min(tokens, loss_chunk_tokens or tokens)
    in_flight = min(accumulation, pipeline - stage)  # micro batches between their forward and backward pass (1F1B)
    layers = shape.num_hidden_layers // pipeline * in_flight
    return Memory(
        weights=width * parameters,
        gradients=gradient_bytes * parameters,
        optimizer=math.ceil(optimizer_bytes(precision) * parameters / (data * context)),
        activations=layer.kept(recompute) * layers + layer.again(recompute) + last * layer.norm,
        logits=last * logit_bytes(shape, chunk, width, modules) // tensor,
        buffers=_buffers(shape, tokens, sequence_length, tensor, width, modules == "plain" and chunk < tokens),
        communication=COMMUNICATOR * communicators(data, tensor, pipeline, context),
    )


def rank_parameters(shape: Qwen3Shape, tensor: int = 1, pipeline: int = 1, stage: int = 0) -> int:
    """Parameters on one rank: matrices split by `tensor`, norms on all, embeddings at the pipeline's two ends.

    The last stage of a pipeline holds a copy of tied embeddings.
    """
    query, key_value = head_widths(shape)
    matrices = shape.hidden_size * (2 * query + 2 * key_value + 3 * shape.intermediate_size) // tensor
    layers = shape.num_hidden_layers // pipeline * (matrices + 2 * shape.hidden_size + 2 * shape.head_dim)
    last = stage == pipeline - 1
    embedding = padded_vocabulary(shape) * shape.hidden_size // tensor
    copies = (stage == 0) + (last and (pipeline > 1 or not shape.tie_word_embeddings))
    return layers + copies * embedding + last * shape.hidden_size


def optimizer_bytes(precision: Precision) -> int:
    """Per parameter of a shard: two fp32 moments, and an fp32 weight unless the weights are that themselves."""
    return FLOAT * (3 if precision == "bf16-mixed" else 2)


def communicators(data: int, tensor: int, pipeline: int, context: int) -> int:
    """NCCL's, of one rank: one for each kind of parallelism, and for the whole world's norms and barriers."""
    kinds = sum(size > 1 for size in (data, tensor, pipeline, context))
    return kinds + (kinds > 0)


def _buffers(
    shape: Qwen3Shape, tokens: int, sequence_length: int, tensor: int, width: int, sums_of_chunks: bool
) -> int:
    """The batch itself; the angles of rotation, in fp32; the sequence that tensor-parallel ranks gather for a matrix
    product (Megatron-Core's global memory buffer); the gradient of the largest matrix before it is added up; and if
    that comes in chunks and no kernel adds them up where they belong, the sum before and the sum after one.
    """
    angles = FLOAT * sequence_length * shape.head_dim
    gathered = width * tokens * shape.hidden_size if tensor > 1 else 0
    largest = width * max(padded_vocabulary(shape), 2 * shape.intermediate_size) * shape.hidden_size // tensor
    return IDS * tokens + angles + gathered + largest * (3 if sums_of_chunks else 1)
