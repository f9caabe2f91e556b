"""Bytes that one rank keeps of a micro batch from its forward to its backward pass: arithmetic alone, no torch."""

from dataclasses import dataclass
from typing import Literal

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

    transformer_engine: inputs and outputs of both norms; q, k, v before and after their own norms and rotation;
    attention's output and log-sum-exp; the two halves of the gate and their product. Counted, not measured.

    plain: what the modules of `recipes.engine.layers` and Megatron-Core's own keep on a CPU, byte for byte: norms are
    not fused and keep their input and the normalised values in fp32; q, k, v stay as one tensor beside what they
    become; SwiGLU keeps each of its steps; sines and cosines are made anew in every layer. On a GPU norms are fused.
    """
    query, key_value = head_widths(shape)
    tokens = micro_batch * sequence_length // context
    hidden, heads, groups = shape.hidden_size, shape.num_attention_heads, shape.num_key_value_heads
    if modules == "transformer_engine":
        norm, angles = 2 * width * hidden, 0
        inside = width * (3 * query + 3 * key_value) + FLOAT * heads
        feed_forward = 3 * width * shape.intermediate_size
    else:
        norm, angles = (2 * FLOAT + width) * hidden + FLOAT, 4 * width * sequence_length // context * shape.head_dim
        # the fp32 inputs of their norms: fp32 keys are where they lie, and so are queries if they lie in one piece
        keys_in = 0 if width == FLOAT else FLOAT
        queries_in = keys_in if heads == groups or groups == tensor else FLOAT
        inside = (3 * width + FLOAT) * (query + key_value) + queries_in * query + keys_in * key_value
        inside += FLOAT * (2 * heads + groups)
        feed_forward = 5 * width * shape.intermediate_size
    return LayerActivations(
        input=width * hidden * tokens // tensor,
        attention=(2 * norm + inside) * tokens // tensor + angles,
        feed_forward=feed_forward * tokens // tensor,
        norm=norm * tokens // tensor,
    )


def logit_bytes(shape: Qwen3Shape, tokens: int, width: int, modules: Modules) -> int:
    """Logits of so many tokens, and what cross entropy makes of them.

    Plain: logits in `width`, and their softmax in fp32, which becomes the gradient in place. Logits in fp32 become the
    softmax in place too, but rows that pad the vocabulary are closed in a copy.
    """
    padded = padded_vocabulary(shape) > shape.vocab_size
    plain = FLOAT * (1 + padded) if width == FLOAT else FLOAT + width
    each = plain if modules == "plain" else max(FUSED_LOGIT, plain)
    return each * tokens * padded_vocabulary(shape)
