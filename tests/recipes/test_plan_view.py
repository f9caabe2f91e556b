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
