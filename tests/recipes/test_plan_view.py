import io

from rich.console import Console

from recipes.load import load_recipe
from recipes.plan import expected_sizes, make_plan
from recipes.plan_view import show_plan


def shown(*overrides: str) -> list[str]:
    """The lines that `cpt plan qwen3_tiny` prints."""
    recipe, console = load_recipe("qwen3_tiny", overrides), Console(file=io.StringIO(), width=160)
    sizes = expected_sizes(recipe)
    show_plan(console, recipe, make_plan(recipe, sizes), sizes, None)
    return console.file.getvalue().splitlines()


def test_the_table_says_what_the_rate_and_the_moments_do() -> None:
    lines = shown("phases.2.schedule={kind: continue}", "phases.2.optimizer_state=carry")
    general, legal_terms = (next(line for line in lines if name in line) for name in ("general ", "legal_terms "))
    assert "cosine 0.001 → 0.000664 " in general
    assert "continue 0.000664 → 0.0001 " in legal_terms and "carry" in legal_terms


def test_the_curve_of_constant_rates_is_a_skyline() -> None:
    """Phases of 96 Ki, 128 Ki, 192 Ki and 96 Ki tokens; 32 levels for the highest rate."""
    rates = (8e-4, 4e-4, 2e-4, 1e-4)
    constant = [f"phases.{n}.schedule={{kind: constant, max_lr: {rate}}}" for n, rate in enumerate(rates, 1)]
    lines = shown(*constant)
    first = next(at for at, line in enumerate(lines) if line.startswith("learning rate over tokens, highest 0.0008"))
    full = "█"
    assert [line.rstrip() for line in lines[first + 1 : first + 5]] == [
        18 * full,
        18 * full,
        18 * full + " " + 24 * full,
        18 * full + " " + 24 * full + " " + 36 * full + " " + 18 * "▄",
    ]


def test_a_schedule_that_decays_late_stays_on_top_until_then() -> None:
    stated = "{kind: wsd, max_lr: 1e-3, min_lr: 1e-4, warmup_fraction: 0.25, decay_fraction: 0.25}"
    lines = shown(f"phases.3.schedule={stated}", "phases.4.schedule={kind: continue}", "phases.4.optimizer_state=carry")
    assert any("wsd 0.001" in line and "reset" in line for line in lines)
    assert any("continue" in line and "→ 0.0001" in line and "carry" in line for line in lines)
    first = next(at for at, line in enumerate(lines) if line.startswith("learning rate over tokens"))
    top, bottom = (lines[at].rstrip() for at in (first + 1, first + 4))  # phase 3 begins in column 44, phase 4 in 81
    assert top[44:50].strip() == "" and top[56:80] == 24 * "█"
    assert top[81:85] == 4 * "█" and len(top) < len(bottom) and bottom[81:96] == 15 * "█"
