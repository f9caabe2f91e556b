"""What does not divide is said, all of it."""

import pytest

from launch.rehearse.rules import broken_rules
from recipes.cluster import Cluster
from recipes.load import load_cluster, load_recipe, shipped_names

RECIPE = load_recipe("qwen3_1p7b")
PHASE, SHAPE, MN5 = RECIPE.phase(1), RECIPE.model.shape, load_cluster("mn5")


def gpus(world: int) -> Cluster:
    return MN5.model_copy(update={"nodes": 1, "ranks_per_node": world})


@pytest.mark.parametrize("name", [name for name in shipped_names() if "tiny" not in name])
def test_what_is_shipped_divides_over_400_ranks(name: str) -> None:
    recipe = load_recipe(name)
    assert [broken_rules(phase, recipe.model.shape, MN5) for phase in recipe.phases] == [[]] * len(recipe.phases)


@pytest.mark.parametrize(
    ("fields", "world", "sentence"),
    [
        ({"pipeline_parallel": 8}, 400, "num_hidden_layers (28) is not a multiple of pipeline_parallel (8)"),
        ({"global_batch_size": 801}, 400, "global_batch_size (801) is not a multiple of micro_batch_size"),
        (
            {"context_parallel": 4, "sequence_length": 4100},
            400,
            "(4,100) is not a multiple of 2 × context_parallel (8)",
        ),
        (
            {"tensor_parallel": 8, "sequence_length": 4100},
            400,
            "of tensor_parallel × context_parallel (8); the largest",
        ),
        ({}, 399, "global_batch_size (800) is not a multiple"),
    ],
)
def test_one_rule(fields: dict[str, int], world: int, sentence: str) -> None:
    (broken,) = broken_rules(PHASE.model_copy(update=fields), SHAPE, gpus(world))
    assert sentence in broken


def test_all_rules_are_told_at_once() -> None:
    phase = PHASE.model_copy(update={"tensor_parallel": 5, "pipeline_parallel": 3})
    broken = broken_rules(phase, SHAPE, MN5)
    assert [sentence.split(" (")[0].split(" = ")[0] for sentence in broken] == [
        "tensor_parallel × pipeline_parallel × context_parallel",
        "num_attention_heads",
        "num_key_value_heads",
        "intermediate_size",
        "the padded vocabulary",
        "num_hidden_layers",
        "sequence_length",
    ]


def test_a_padded_vocabulary_divides_where_the_real_one_does_not() -> None:
    shape = SHAPE.model_copy(update={"vocab_size": SHAPE.vocab_size - 1})
    assert not broken_rules(PHASE.model_copy(update={"tensor_parallel": 4, "global_batch_size": 800}), shape, MN5)


def test_context_parallelism_needs_gpus() -> None:
    phase = PHASE.model_copy(update={"context_parallel": 2})
    assert not broken_rules(phase, SHAPE, MN5)
    (broken,) = broken_rules(phase, SHAPE, gpus(400).model_copy(update={"gpus_per_node": 0}))
    assert broken.startswith("context_parallel (2) needs Transformer Engine, and GPUs for it; set it to 1")
