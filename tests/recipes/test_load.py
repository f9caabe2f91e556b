from pathlib import Path

import pytest

from recipes.errors import UserError
from recipes.load import SHIPPED, load_cluster, load_recipe, phase_number, phase_numbers, shipped_names


@pytest.mark.parametrize("name", shipped_names())
def test_every_shipped_recipe_loads_under_its_own_name(name: str) -> None:
    assert load_recipe(name).name == name


@pytest.mark.parametrize("name", ["local", "mn5"])
def test_every_shipped_cluster_loads_under_its_own_name(name: str) -> None:
    assert load_cluster(name).name == name


def test_the_cluster_template_is_valid_as_it_is() -> None:
    assert load_cluster("template").name == "my_cluster"


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("seeed=1", "unknown field `seeed`, did you mean 'seed'"),
        ("phases.1.tokn_budget=1", "unknown field `phases.1.tokn_budget`, did you mean 'token_budget'"),
        ("phases.2.schedule.max_lrr=1", "did you mean 'max_lr'"),
        ("phases.9.token_budget=1", "no item '9' in a list of 4"),
        ("phases.general.mixture.legal=0.9", "shares of `mixture` must add up to 1"),
        ("model.shape.hidden_size=abc", "`model.shape.hidden_size`.*valid integer.*found 'abc'"),
        ("phases.1.token_budget=10", "phase general: token_budget .10. is below one global batch"),
        ("phases.1.sequence_length=2048", "exceeds the model's 1,024 positions"),
        ("phases.1.schedule.min_lr=1", "min_lr .* must not exceed max_lr"),
        ("model.init=extended", "reserved"),
        ("model.init=hff", "field `model.init`"),
        ("checkpoint.best_by=3", "field `checkpoint.best_by`"),
        (
            "evaluation.sequence_length=2000",
            "phase general: validation in windows of .* .2000. needs more memory than tr",
        ),
        ("samples.prompts=['']", "samples.prompts.1"),
        ("nonsense", "expected FIELD=VALUE"),
        ("seed.x.y=1", "field `seed`"),
        ("seed=[1", "the value is not valid YAML; put it in quotes"),
        ("name=*x", "the value is not valid YAML; put it in quotes"),
    ],
)
def test_a_wrong_override_is_one_sentence_about_the_field(override: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence) as caught:
        load_recipe("qwen3_tiny", [override])
    assert "\n" not in str(caught.value)


def test_overrides_reach_phases_by_number_and_by_name() -> None:
    recipe = load_recipe("qwen3_tiny", ["phases.2.token_budget=1e5", "phases.general.mixture={general: 1.0}"])
    assert recipe.phase(2).token_budget == 100_000
    assert recipe.phase(1).mixture == {"general": 1.0}


def test_an_override_of_what_yaml_shares_changes_one_phase_only() -> None:
    recipe = load_recipe("qwen3_tiny", ["phases.2.schedule.max_lr=0.5"])
    assert [phase.schedule.max_lr == 0.5 for phase in recipe.phases] == [False, True, False, False]


def test_unknown_names_get_the_nearest() -> None:
    with pytest.raises(UserError, match="unknown recipe 'qwen3_tini', did you mean 'qwen3_tiny'"):
        load_recipe("qwen3_tini")
    with pytest.raises(UserError, match="unknown cluster 'mn6', did you mean 'mn5'"):
        load_cluster("mn6")


def test_files_that_are_not_recipes(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        load_recipe(str(tmp_path / "none.yaml"))
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [1\nb: 2")
    with pytest.raises(UserError, match=r"broken.yaml, line 2: not valid YAML"):
        load_recipe(str(broken))
    broken.write_text("a: &x [*x]")
    with pytest.raises(UserError, match=r"an alias .* contains itself"):
        load_recipe(str(broken))
    broken.write_text("- 1")
    with pytest.raises(UserError, match="expected a mapping"):
        load_recipe(str(broken))
    broken.write_text((SHIPPED / "qwen3_tiny.yaml").read_text().replace("name: qwen3_tiny\n", "", 1))
    with pytest.raises(UserError, match="the field `name` is missing"):
        load_recipe(str(broken))


def test_phases_by_number_and_name() -> None:
    recipe = load_recipe("qwen3_tiny")
    assert phase_number(recipe, "2") == phase_number(recipe, recipe.phase(2).name) == 2
    for wrong in ("0", "5", "nothing", "", "²"):
        with pytest.raises(UserError, match=r"has no phase .* it has 1 \("):
            phase_number(recipe, wrong)


def test_several_phases_in_order_and_all_by_default() -> None:
    recipe = load_recipe("qwen3_tiny")
    assert phase_numbers(recipe, f"3,{recipe.phase(1).name}") == [1, 3]
    assert phase_numbers(recipe, None) == [1, 2, 3, 4]
