"""Which Megatron-Core tensor is which Hugging Face tensor, for a dense Qwen3. One table drives both directions.

Sources: transformers/models/qwen3/modeling_qwen3.py; megatron/core/transformer/attention.py (linear_qkv holds, for each
query group, the group's query heads, its key head, its value head); megatron/core/transformer/mlp.py (linear_fc1 holds
the gate above the up projection). Linear weights are [out, in] on both sides.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from recipes.shape import Qwen3Shape

Size = tuple[int, ...]
LAYERS = "decoder.layers."


def join_qkv(parts: Sequence[Tensor], shape: Qwen3Shape) -> Tensor:
    """Query [heads·d, h], key and value [groups·d, h] -> [(heads + 2·groups)·d, h], interleaved per query group."""
    groups = shape.num_key_value_heads
    return torch.cat([part.reshape(groups, -1, part.shape[-1]) for part in parts], dim=1).flatten(0, 1)


def split_qkv(fused: Tensor, shape: Qwen3Shape) -> list[Tensor]:
    """The inverse of `join_qkv`."""
    groups, head = shape.num_key_value_heads, shape.head_dim
    rows = [shape.num_attention_heads // groups * head, head, head]
    return [part.flatten(0, 1) for part in fused.reshape(groups, sum(rows), -1).split(rows, dim=1)]


def join_gate_up(parts: Sequence[Tensor], shape: Qwen3Shape) -> Tensor:
    """Gate and up projection, each [ffn, h] -> [2·ffn, h]."""
    return torch.cat(list(parts))


def split_gate_up(fused: Tensor, shape: Qwen3Shape) -> list[Tensor]:
    """The inverse of `join_gate_up`."""
    return list(fused.chunk(2))


def keep(parts: Sequence[Tensor], shape: Qwen3Shape) -> Tensor:
    """One tensor on both sides, the same."""
    return parts[0]


def keep_one(tensor: Tensor, shape: Qwen3Shape) -> list[Tensor]:
    """The inverse of `keep`."""
    return [tensor]


def trim_vocabulary(tensor: Tensor, shape: Qwen3Shape) -> list[Tensor]:
    """Drop the rows that Megatron-Core appended to make the vocabulary divisible."""
    return [tensor[: shape.vocab_size]]


def pad_vocabulary(tensor: Tensor, rows: int) -> Tensor:
    """Append zero rows until there are `rows`."""
    return (
        torch.cat([tensor, tensor.new_zeros(rows - len(tensor), *tensor.shape[1:])]) if rows > len(tensor) else tensor
    )


def padded_vocabulary(vocab_size: int, divisible_by: int = 1, tensor_parallel: int = 1) -> int:
    """The smallest multiple of `divisible_by` × `tensor_parallel` that holds the vocabulary, as Megatron pads it."""
    multiple = divisible_by * tensor_parallel
    return -(-vocab_size // multiple) * multiple


def _matrix(out: Callable[[Qwen3Shape], int], into: Callable[[Qwen3Shape], int]) -> Callable[[Qwen3Shape], Size]:
    return lambda shape: (out(shape), into(shape))


def _hidden(shape: Qwen3Shape) -> int:
    return shape.hidden_size


def _ffn(shape: Qwen3Shape) -> int:
    return shape.intermediate_size


def _query(shape: Qwen3Shape) -> int:
    return shape.num_attention_heads * shape.head_dim


def _key_value(shape: Qwen3Shape) -> int:
    return shape.num_key_value_heads * shape.head_dim


def _hidden_vector(shape: Qwen3Shape) -> Size:
    return (shape.hidden_size,)


def _head_vector(shape: Qwen3Shape) -> Size:
    return (shape.head_dim,)


_vocabulary_matrix = _matrix(lambda shape: shape.vocab_size, _hidden)


@dataclass(frozen=True)
class Rule:
    """One Megatron-Core tensor and the Hugging Face tensors it is made of, with their sizes."""

    megatron: str  # the Transformer Engine spec's name; Megatron-Core's local spec saves and loads under it as well
    hf: dict[str, Callable[[Qwen3Shape], Size]]
    join: Callable[[Sequence[Tensor], Qwen3Shape], Tensor] = keep
    split: Callable[[Tensor, Qwen3Shape], list[Tensor]] = keep_one
    local: str | None = None  # the local spec's own name where it differs

    @property
    def over_vocabulary(self) -> bool:
        return self.split is trim_vocabulary


EMBEDDING = Rule(
    "embedding.word_embeddings.weight", {"model.embed_tokens.weight": _vocabulary_matrix}, split=trim_vocabulary
)
FINAL_NORM = Rule("decoder.final_layernorm.weight", {"model.norm.weight": _hidden_vector})
OUTPUT = Rule("output_layer.weight", {"lm_head.weight": _vocabulary_matrix}, split=trim_vocabulary)
LAYER = (
    Rule(
        "self_attention.linear_qkv.weight",
        {
            "self_attn.q_proj.weight": _matrix(_query, _hidden),
            "self_attn.k_proj.weight": _matrix(_key_value, _hidden),
            "self_attn.v_proj.weight": _matrix(_key_value, _hidden),
        },
        join_qkv,
        split_qkv,
    ),
    Rule("self_attention.linear_proj.weight", {"self_attn.o_proj.weight": _matrix(_hidden, _query)}),
    Rule("self_attention.q_layernorm.weight", {"self_attn.q_norm.weight": _head_vector}),
    Rule("self_attention.k_layernorm.weight", {"self_attn.k_norm.weight": _head_vector}),
    Rule(
        "mlp.linear_fc1.weight",
        {"mlp.gate_proj.weight": _matrix(_ffn, _hidden), "mlp.up_proj.weight": _matrix(_ffn, _hidden)},
        join_gate_up,
        split_gate_up,
    ),
    Rule("mlp.linear_fc2.weight", {"mlp.down_proj.weight": _matrix(_hidden, _ffn)}),
    Rule(
        "self_attention.linear_qkv.layer_norm_weight",
        {"input_layernorm.weight": _hidden_vector},
        local="input_layernorm.weight",
    ),
    Rule(
        "mlp.linear_fc1.layer_norm_weight",
        {"post_attention_layernorm.weight": _hidden_vector},
        local="pre_mlp_layernorm.weight",
    ),
)


@dataclass(frozen=True)
class Slot:
    """A rule at its place in one model: names and sizes are concrete."""

    rule: Rule
    layer: int | None  # None outside the layers
    hf: dict[str, Size]  # full Hugging Face name -> size
    keys: tuple[str, ...]  # Megatron-Core names, best first, without the wrapper's prefix and without the layer number

    def megatron_size(self, shape: Qwen3Shape) -> Size:
        """Size in a checkpoint, without vocabulary padding; layers are stacked, and every join stacks rows."""
        sizes = list(self.hf.values())
        joined = (sum(size[0] for size in sizes), *sizes[0][1:])
        return joined if self.layer is None else (shape.num_hidden_layers, *joined)


def slots(shape: Qwen3Shape) -> Iterator[Slot]:
    """Every tensor of the model once, in the order of `save_pretrained`; no head if the embeddings are tied."""
    yield _slot(EMBEDDING, shape)
    for layer in range(shape.num_hidden_layers):
        for rule in LAYER:
            yield _slot(rule, shape, layer)
    yield _slot(FINAL_NORM, shape)
    if not shape.tie_word_embeddings:
        yield _slot(OUTPUT, shape)


def hf_sizes(shape: Qwen3Shape) -> dict[str, Size]:
    """Name -> size of every Hugging Face tensor, in the order of `save_pretrained`."""
    return {name: size for slot in slots(shape) for name, size in slot.hf.items()}


def to_megatron(slot: Slot, parts: Sequence[Tensor], shape: Qwen3Shape, vocabulary: int) -> Tensor:
    """Join the slot's Hugging Face tensors; `vocabulary` is the padded number of embedding rows."""
    tensor = slot.rule.join(parts, shape)
    return pad_vocabulary(tensor, vocabulary) if slot.rule.over_vocabulary else tensor


def to_hf(slot: Slot, tensor: Tensor, shape: Qwen3Shape) -> dict[str, Tensor]:
    """Split a Megatron-Core tensor into the slot's Hugging Face tensors, by name. The inverse of `to_megatron`."""
    return dict(zip(slot.hf, slot.rule.split(tensor, shape), strict=True))


def _slot(rule: Rule, shape: Qwen3Shape, layer: int | None = None) -> Slot:
    prefix, megatron = ("", "") if layer is None else (f"model.layers.{layer}.", LAYERS)
    keys = tuple(megatron + name for name in (rule.megatron, rule.local) if name)
    return Slot(rule, layer, {prefix + name: size(shape) for name, size in rule.hf.items()}, keys)
