"""Parameter counts are checked against transformers' own model, built without memory on the meta device."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from recipes.load import load_recipe
from recipes.shape import Qwen3Shape

SMALL = {
    "vocab_size": 128,
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 10,
    "tie_word_embeddings": True,
    "max_position_embeddings": 64,
}


def hf_parameters(shape: Qwen3Shape) -> int:
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    with torch.device("meta"):
        return sum(weight.numel() for weight in Qwen3ForCausalLM(Qwen3Config(**shape.model_dump())).parameters())


@settings(max_examples=10, deadline=None)
@given(
    groups=st.integers(1, 3),
    heads=st.integers(1, 3),
    head_dim=st.sampled_from([2, 10, 16]),
    layers=st.integers(1, 3),
    tied=st.booleans(),
)
def test_parameters_equal_those_of_transformers(
    groups: int, heads: int, head_dim: int, layers: int, tied: bool
) -> None:
    fields = SMALL | {
        "num_attention_heads": groups * heads,
        "num_key_value_heads": groups,
        "head_dim": head_dim,
        "num_hidden_layers": layers,
        "tie_word_embeddings": tied,
    }
    shape = Qwen3Shape.model_validate(fields)
    assert shape.parameters == hf_parameters(shape)


@pytest.mark.parametrize(("recipe", "parameters"), [("qwen3_4b", 4_022_468_096), ("qwen3_1p7b", 1_720_574_976)])
def test_the_published_models_have_the_published_sizes(recipe: str, parameters: int) -> None:
    shape = load_recipe(recipe).model.shape
    assert shape.parameters == parameters == hf_parameters(shape)


def test_flops_are_six_per_weight_and_half_an_attention_square() -> None:
    shape = Qwen3Shape.model_validate(SMALL)
    layer = 24 * 10 * (4 + 2 * 2) + 4 * 10 * 24 + 3 * 24 * 40
    attention = 2 * 4 * 10 * 32  # layers × heads × head_dim × sequence: QKᵀ and AV, forward and backward, causal
    assert shape.flops_per_token(32) == 6 * (2 * layer + 128 * 24) + 6 * attention
    untied = Qwen3Shape.model_validate(SMALL | {"tie_word_embeddings": False})
    assert untied.flops_per_token(32) == shape.flops_per_token(32)


def test_heads_must_divide_into_groups() -> None:
    with pytest.raises(ValidationError, match="must be a multiple of num_key_value_heads"):
        Qwen3Shape.model_validate(SMALL | {"num_key_value_heads": 3})


def test_rope_theta_is_found_where_either_transformers_version_writes_it() -> None:
    assert Qwen3Shape.from_hf(SMALL | {"rope_theta": 5e5, "model_type": "qwen3"}).rope_theta == 5e5
    assert Qwen3Shape.from_hf(SMALL | {"rope_parameters": {"rope_theta": 5e5}}).rope_theta == 5e5
