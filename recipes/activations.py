"""Bytes that one rank keeps of a micro batch from its forward to its backward pass: arithmetic alone, no torch."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

from recipes.schema import Recompute
from recipes.shape import Qwen3Shape

Modules = Literal["transformer_engine", "plain"]  # plain: those of recipes.engine.layers, as they run on a CPU

VOCABULARY_MULTIPLE = 128  # as recipes.engine.vocabulary pads it
FLOAT = 4  # bytes, fp32
FUSED_LOGIT = 10  # bytes: bf16 out, fp32 softmax, fp32 gradient; not measured


def padded_vocabulary(shape: Qwen3Shape) -> int:
    """Rows of the embedding matrix in training."""
    return -(-shape.vocab_size // VOCABULARY_MULTIPLE) * VOCABULARY_MULTIPLE


def head_widths(shape: Qwen3Shape) -> tuple[int, int]:
    """Width of all query heads together, and of all keys."""
    return shape.num_attention_heads * shape.head_dim, shape.num_key_value_heads * shape.head_dim


@dataclass(frozen=True)
class LayerActivations:
    """Bytes that one layer keeps of one micro batch for its backward pass."""

    input: int  # the hidden states
    attention: int  # with both norms
    feed_forward: int
    norm: int  # of one norm over hidden states, such as the model's last

    def kept(self, recompute: Recompute) -> int:
        """Until the backward pass."""
        return {
            "none": self.attention + self.feed_forward,
            "selective": self.attention,
            "full": self.input,
        }[recompute]

    def again(self, recompute: Recompute) -> int:
        """While the backward pass is in this layer."""
        return {"none": 0, "selective": self.feed_forward, "full": self.attention + self.feed_forward}[recompute]


def layer_activations(
    shape: Qwen3Shape, sequence_length: int, micro_batch: int, tensor: int, context: int, width: int, modules: Modules
) -> LayerActivations:
    """After Korthikanti et al. 2022 (arXiv 2205.05198), with flash attention (no square) and SwiGLU.

    Args:
        width: bytes of a value: 2 in bf16, 4 in fp32.
    """
    tokens = micro_batch * sequence_length // context
    plain = modules == "plain"
    token = _plain(shape, width, tensor) if plain else _transformer_engine(shape, width)
    angles = 4 * width * sequence_length // context * shape.head_dim  # sines and cosines, of queries and of keys
    return LayerActivations(
        input=width * shape.hidden_size * tokens // tensor,
        attention=(2 * token.norm + token.attention) * tokens // tensor + plain * angles,
        feed_forward=token.feed_forward * tokens // tensor,
        norm=token.norm * tokens // tensor,
    )


class _Token(NamedTuple):
    """Bytes per token; attention without the norm before it."""

    norm: int
    attention: int
    feed_forward: int


def _transformer_engine(shape: Qwen3Shape, width: int) -> _Token:
    """Counted, not measured: inputs and outputs of norms; q, k, v before and after their own norms and rotation;
    attention's output, and its log-sum-exp in fp32; the two halves of the gate and their product.
    """
    query, key_value = head_widths(shape)
    return _Token(
        norm=2 * width * shape.hidden_size,
        attention=3 * width * (query + key_value) + FLOAT * shape.num_attention_heads,
        feed_forward=3 * width * shape.intermediate_size,
    )


def _plain(shape: Qwen3Shape, width: int, tensor: int) -> _Token:
    """What the modules of `recipes.engine.layers` and Megatron-Core's own keep on a CPU, to the byte.

    Norms are not fused (on a GPU they are): they keep input, normalised values and scale in fp32. q, k, v stay as one
    tensor beside what they become. SwiGLU keeps every step. Sines and cosines are made anew in every layer.
    """
    query, key_value = head_widths(shape)
    heads, groups = shape.num_attention_heads, shape.num_key_value_heads
    # Inputs of the norms of q and k: where q, k, v are fp32 they lie there already, but for q if it is in pieces.
    keys_in = 0 if width == FLOAT else FLOAT
    queries_in = keys_in if heads == groups or groups == tensor else FLOAT
    return _Token(
        norm=(2 * FLOAT + width) * shape.hidden_size + FLOAT,
        attention=(3 * width + FLOAT) * (query + key_value)
        + queries_in * query
        + keys_in * key_value
        + FLOAT * (2 * heads + groups),
        feed_forward=5 * width * shape.intermediate_size,
    )


def logit_bytes(shape: Qwen3Shape, tokens: int, width: int, modules: Modules) -> int:
    """Logits of so many tokens, and what cross entropy makes of them.

    Plain: logits in bf16 and, on a CPU, while one is computed, their softmax in fp32 (recipes.engine.cross_entropy).
    Logits in fp32 become the softmax in place, but rows that pad the vocabulary are closed in a copy.
    """
    padded = padded_vocabulary(shape) > shape.vocab_size
    plain = FLOAT * (1 + padded) if width == FLOAT else FLOAT + width
    each = plain if modules == "plain" else max(FUSED_LOGIT, plain)
    return each * tokens * padded_vocabulary(shape)
