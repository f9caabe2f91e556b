from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recipes.errors import UserError
from recipes.load import load_recipe
from recipes.plan import Plan, expected_sizes, make_plan
from recipes.schedule import Curve, learning_rate, phase_curve
from recipes.schema import Recipe

WSD = "{kind: wsd, max_lr: 1.0e-3, min_lr: 1.0e-4, warmup_fraction: 0.1, decay_fraction: 0.25}"


def rates(recipe: Recipe, *phases: int) -> list[float]:
    """The rate of every step of `phases`, one after another."""
    return [
        learning_rate(recipe, number, iteration)
        for number in phases
        for iteration in range(recipe.phase(number).iterations)
    ]


@st.composite
def curves(draw: st.DrawFn) -> Curve:
    length = draw(st.integers(1, 300))
    warmup = draw(st.integers(0, length))
    low, high = sorted(draw(st.tuples(st.floats(0, 1), st.floats(1e-9, 1))))
    kind = draw(st.sampled_from(["cosine", "constant", "wsd"]))
    return Curve(kind, high, min(low, high), warmup, draw(st.integers(0, length - warmup)), length, 0)


@given(curves())
def test_every_curve_rises_to_its_top_and_never_again(curve: Curve) -> None:
    heights = [curve.at(step) for step in range(curve.length + 1)]
    rise, fall = heights[: curve.warmup + 1], heights[curve.warmup :]
    assert all(before < after for before, after in pairwise(rise))
    assert all(before >= after for before, after in pairwise(fall))
    assert max(heights) == curve.max_lr or curve.warmup == curve.length
    assert all(0 <= height <= curve.max_lr for height in heights)


@given(curves(), st.data())
def test_a_phase_reads_the_curve_from_its_offset_on(curve: Curve, data: st.DataObject) -> None:
    offset = data.draw(st.integers(0, curve.length))
    assert curve._replace(offset=offset).at(curve.length - offset) == curve.at(curve.length)
    assert curve._replace(offset=offset).at(0) == curve.at(offset)


def test_cosine_warms_up_and_ends_one_step_before_its_minimum() -> None:
    found = rates(load_recipe("qwen3_tiny"), 2)
    assert len(found) == 64 and found[2] == 7.5e-4 and found[3] == 1e-3
    assert found[-1] == pytest.approx(1.00597e-4, rel=1e-5)
    assert learning_rate(load_recipe("qwen3_tiny"), 2, 64) == 1e-4


def test_wsd_declines_as_one_minus_the_root_over_its_last_part() -> None:
    recipe = load_recipe("qwen3_tiny", [f"phases.2.schedule={WSD}"])
    found = rates(recipe, 2)
    assert found[:6] == pytest.approx([1e-3 * (step + 1) / 7 for step in range(6)])
    assert set(found[6:49]) == {1e-3}
    assert found[52] == pytest.approx(1e-4 + 9e-4 * (1 - (4 / 16) ** 0.5))
    assert learning_rate(recipe, 2, 64) == 1e-4


def test_constant_stays() -> None:
    recipe = load_recipe("qwen3_tiny", ["phases.2.schedule={kind: constant, max_lr: 1.0e-3}"])
    assert set(rates(recipe, 2)) == {1e-3}


def test_continued_phases_share_one_curve_over_their_joined_length() -> None:
    """Split in three, a phase has the rates that it has in one piece; what follows begins its own."""
    whole = load_recipe("qwen3_tiny", ["phases.1.token_budget=425984", f"phases.1.schedule={WSD}"])
    split = load_recipe("qwen3_tiny", [f"phases.1.schedule={WSD}", *(f"phases.{n}.schedule={GO_ON}" for n in (2, 3))])
    warmup = (round(0.1 * 208), round(0.1 * 48))  # a fraction of the phase that states it
    assert (phase_curve(whole, 1).warmup, phase_curve(split, 3).warmup) == warmup
    assert rates(split, 1, 2, 3)[warmup[0] :] == rates(whole, 1)[warmup[0] :]
    assert phase_curve(split, 4) == phase_curve(load_recipe("qwen3_tiny"), 4)


GO_ON = "{kind: continue}"


def test_a_plan_with_a_continued_phase_survives_its_file() -> None:
    recipe = load_recipe("qwen3_tiny", [f"phases.2.schedule={GO_ON}"])
    plan = make_plan(recipe, expected_sizes(recipe))
    assert Plan.model_validate(plan.model_dump(mode="json")) == plan
    assert plan.phases[1].warmup_iterations == 0


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("phases.1.schedule={kind: continue}", "phase general: the first phase has no schedule to continue"),
        ("phases.2.schedule.kind=continue", r"`phases\.2\.schedule`.*phase before; state nothing else"),
        ("phases.2.schedule={kind: cosine}", "kind: cosine needs `max_lr`"),
        ("phases.2.schedule.kind=wsd", "kind: wsd needs `decay_fraction`"),
        ("phases.2.schedule.decay_fraction=0.1", "kind: cosine has no `decay_fraction`"),
        (f"phases.2.schedule={WSD.replace('0.25', '0.95')}", "must not exceed 1 together"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused(override: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        load_recipe("qwen3_tiny", [override])
