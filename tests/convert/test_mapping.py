import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from convert.mapping import hf_sizes, padded_vocabulary, slots, split_qkv, to_hf, to_megatron
from recipes.shape import Qwen3Shape


@st.composite
def shapes(draw: st.DrawFn) -> Qwen3Shape:
    groups = draw(st.integers(1, 5))
    return Qwen3Shape(
        vocab_size=draw(st.integers(1, 70)),
        hidden_size=draw(st.integers(1, 20)),
        intermediate_size=draw(st.integers(1, 20)),
        num_hidden_layers=draw(st.integers(1, 3)),
        num_attention_heads=groups * draw(st.integers(1, 4)),
        num_key_value_heads=groups,
        head_dim=draw(st.sampled_from([1, 2, 3, 24, 128])),
        tie_word_embeddings=draw(st.booleans()),
        max_position_embeddings=8,
    )


def tensors_of(shape: Qwen3Shape) -> dict[str, torch.Tensor]:
    return {name: torch.randn(size) for name, size in hf_sizes(shape).items()}


@settings(max_examples=60, deadline=None)
@given(shapes(), st.integers(1, 16), st.sampled_from([1, 2, 4]))
def test_there_and_back_is_the_identity(shape: Qwen3Shape, divisible_by: int, tensor_parallel: int) -> None:
    tensors, back = tensors_of(shape), {}
    rows = padded_vocabulary(shape.vocab_size, divisible_by, tensor_parallel)
    for slot in slots(shape):
        megatron = to_megatron(slot, [tensors[name] for name in slot.hf], shape, rows)
        expected = slot.megatron_size(shape)[0 if slot.layer is None else 1 :]
        assert tuple(megatron.shape) == ((rows, shape.hidden_size) if slot.rule.over_vocabulary else expected)
        back.update(to_hf(slot, megatron, shape))
    assert list(back) == list(tensors)
    assert all(torch.equal(back[name], tensors[name]) for name in tensors)


@given(shapes())
@settings(max_examples=30, deadline=None)
def test_every_tensor_has_one_slot(shape: Qwen3Shape) -> None:
    names = [name for slot in slots(shape) for name in slot.hf]
    assert len(names) == len(set(names))
    assert ("lm_head.weight" in names) is not shape.tie_word_embeddings
    assert sum(torch.Size(size).numel() for size in hf_sizes(shape).values()) == shape.parameters


def test_queries_keys_and_values_are_interleaved_per_group(shape: Qwen3Shape) -> None:
    heads = torch.arange(10.0).repeat_interleave(24)[:, None].expand(-1, 40)  # 10 head rows: q q q k v, q q q k v
    query, key, value = split_qkv(heads, shape)
    assert query[::24, 0].tolist() == [0, 1, 2, 5, 6, 7]
    assert key[::24, 0].tolist() == [3, 8]
    assert value[::24, 0].tolist() == [4, 9]


def test_padding_rounds_up_to_the_product() -> None:
    assert padded_vocabulary(151_936, 128) == 151_936
    assert padded_vocabulary(151_936, 128, 2) == 152_064
    assert padded_vocabulary(1) == 1
