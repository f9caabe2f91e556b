"""Layouts that fit, what they change, which one is recommended."""

import pytest

from launch.estimate.calibration import calibration
from launch.estimate.layouts import Candidate, Task, alternatives, assess, machine_of, recommended, stated_layout
from recipes.errors import UserError
from recipes.load import load_cluster, load_recipe


def task(recipe: str = "qwen3_4b", number: int = 1, *overrides: str) -> Task:
    loaded, cluster = load_recipe(recipe, overrides), load_cluster("mn5")
    return Task(loaded, loaded.phase(number), cluster, machine_of(cluster), calibration().ours)


@pytest.fixture(scope="module")
def candidates() -> list[Candidate]:
    return alternatives(task(), stated_layout(task()))


def test_every_alternative_fits_divides_and_uses_all_gpus(candidates: list[Candidate]) -> None:
    for candidate in candidates:
        layout = candidate.layout
        assert candidate.memory.total <= 64e9
        assert layout.data * layout.tensor * layout.pipeline * layout.context == 400
        assert layout.global_batch % 400 == 0


def test_the_4b_reaches_36_percent_and_every_change_of_the_optimisation_is_named(candidates: list[Candidate]) -> None:
    good = [candidate for candidate in candidates if candidate.mfu >= 0.36]
    assert good
    for candidate in candidates:
        batch = candidate.layout.global_batch != 400
        precision = candidate.layout.reduce_bytes != 4
        assert any("global batch" in change for change in candidate.changes) == batch
        assert any("bf16 instead of fp32" in change for change in candidate.changes) == precision


def test_one_is_best_for_each_batch_and_precision(candidates: list[Candidate]) -> None:
    keys = [(candidate.layout.global_batch, candidate.layout.reduce_bytes) for candidate in candidates]
    assert sorted(keys) == [(400 * factor, size) for factor in (1, 2, 4, 8) for size in (2, 4)]
    stated = assess(task(), stated_layout(task()))
    unchanged = next(candidate for candidate in candidates if not candidate.changes)
    assert unchanged.tokens_per_second >= stated.tokens_per_second


def test_the_recommended_one_changes_least_among_the_fast(candidates: list[Candidate]) -> None:
    chosen = recommended(candidates)
    assert chosen
    fastest = max(candidate.tokens_per_second for candidate in candidates)
    assert chosen.tokens_per_second >= 0.9 * fastest
    assert chosen.layout.reduce_bytes == 4
    for other in candidates:
        if other.layout.reduce_bytes == 4 and other.layout.global_batch < chosen.layout.global_batch:
            assert other.tokens_per_second < 0.9 * fastest
    assert recommended([]) is None


def test_mfu_is_tokens_times_flops_over_the_peak() -> None:
    stated = assess(task(), stated_layout(task()))
    flops = load_recipe("qwen3_4b").model.shape.flops_per_token(4096)
    assert stated.mfu == pytest.approx(stated.tokens_per_second * flops / (400 * 989e12))


def test_what_the_recipe_states_is_estimated() -> None:
    long = stated_layout(task("qwen3_1p7b", 4))
    assert (long.sequence_length, long.tensor, long.data, long.accumulation) == (32768, 4, 100, 1)
    assert stated_layout(task("qwen3_4b", 1, "gradient_reduction=bf16")).reduce_bytes == 2


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("accelerator.memory_gb_per_second=null", "needs `accelerator.memory_gb_per_second`"),
        ("accelerator.nvlink_gb_per_second=null", "needs `accelerator.nvlink_gb_per_second`"),
        ("network_gbps_per_node=null", "needs `network_gbps_per_node`"),
    ],
)
def test_a_missing_figure_is_named(override: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        machine_of(load_cluster("mn5", [override]))


def test_a_cluster_without_gpus_and_a_batch_that_does_not_divide_are_refused() -> None:
    with pytest.raises(UserError, match="cluster local: an estimate needs `accelerator`"):
        machine_of(load_cluster("local"))
    with pytest.raises(UserError, match="nearest that are: 400 or 800"):
        stated_layout(task("qwen3_4b", 1, "phases.1.global_batch_size=410"))
    with pytest.raises(UserError, match="recipe qwen3_tiny: estimates are for precision bf16-mixed, this one has 32"):
        stated_layout(task("qwen3_tiny"))
