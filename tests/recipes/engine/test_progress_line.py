from dataclasses import replace
from typing import Any

import pytest

from recipes.cluster import Accelerator
from recipes.engine.phase_numbers import PhaseNumbers
from recipes.engine.progress_line import duration, formula, sentence, short
from recipes.load import load_cluster, load_recipe

LINE: dict[str, Any] = {
    "phase": 3,
    "iteration": 123_456,
    "tokens_total": 123_456_789_012,
    "loss": 1.2345,
    "lr": 1e-5,
    "grad_norm": 0.534,
    "tokens_per_second": 3_390_000.0,
    "mfu": 0.381,
    "peak_memory_gb": 61.23,
    "seconds_left": 7_830.0,
    "seconds_left_run": 275_000.0,
}


def _numbers(recipe: str, phase: int) -> PhaseNumbers:
    return PhaseNumbers.of(load_recipe(recipe), load_cluster("mn5"), phase, 400)


def test_a_line_of_the_largest_run_fits_a_wide_terminal() -> None:
    numbers = replace(_numbers("qwen3_1p7b", 3), name="legal_depth", iterations=165_278)
    line = sentence(numbers, LINE)
    assert line == (
        "phase 3 legal_depth  123456/165278  123.5 B tokens  loss 1.2345  lr 1.00e-05  norm 0.53  3,390,000 tokens/s"
        "  MFU 38.1%  61.2 GB  left 2 h 10 min, run ~3 d 4 h"
    )


def test_a_line_without_what_is_not_known() -> None:
    unknown = {"mfu", "seconds_left", "seconds_left_run"}
    line = {key: value for key, value in LINE.items() if key not in unknown} | {"grad_norm": None}
    assert sentence(_numbers("qwen3_4b", 1), line).endswith("lr 1.00e-05  3,390,000 tokens/s  61.2 GB")


def test_the_last_phase_has_no_second_time() -> None:
    line = LINE | {"seconds_left": 30.0, "seconds_left_run": 30.0}
    assert sentence(_numbers("qwen3_4b", 1), line).endswith("left 30 s")
    assert sentence(_numbers("qwen3_4b", 1), LINE | {"seconds_left": 0.0}).endswith("GB  run ~3 d 4 h")


def test_the_formula_of_mfu_has_its_numbers() -> None:
    text = formula(_numbers("qwen3_4b", 1))
    assert "tokens/s × 27.8 GFLOP per token / 395,600 TFLOP/s (dense bf16, 400 × H100-64GB)" in text
    assert "lower" not in text
    assert "the true MFU is lower" in formula(replace(_numbers("qwen3_4b", 1), document_masking=True))


def test_where_documents_are_masked_attention_counts_by_what_it_reaches() -> None:
    recipe = load_recipe("qwen3_4b", ["phases.1.document_masking=true"])
    numbers = PhaseNumbers.of(recipe, load_cluster("mn5"), 1, 400, attention_length=900.0)
    assert numbers.flops_per_token == recipe.model.shape.flops_per_token(900)
    text = formula(numbers)
    assert "head_dim × 900 tokens that attention reaches over inside documents" in text
    assert "lower" not in text


def test_later_phases_count_at_their_own_sequence_length() -> None:
    recipe = load_recipe("qwen3_1p7b")
    expected = sum(
        phase.iterations * phase.tokens_per_iteration * recipe.model.shape.flops_per_token(phase.sequence_length)
        for phase in recipe.phases[2:]
    )
    numbers = _numbers("qwen3_1p7b", 2)
    assert numbers.flops_after == pytest.approx(expected)
    assert numbers.iterations_before == recipe.phase(1).iterations
    assert numbers.tokens_before == recipe.phase(1).iterations * recipe.phase(1).tokens_per_iteration
    assert _numbers("qwen3_1p7b", 4).flops_after == 0


def test_peak_is_that_of_all_ranks() -> None:
    numbers = _numbers("qwen3_4b", 1)
    assert numbers.peak_flops == 400 * 989e12
    half = replace(numbers, ranks=200, accelerator=Accelerator(name="other", memory_gb=80, peak_bf16_tflops=312))
    assert half.peak_flops == 200 * 312e12
    assert replace(numbers, accelerator=None).peak_flops is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "0 s"),
        (45, "45 s"),
        (59.7, "1 min 0 s"),
        (3_599, "59 min 59 s"),
        (90_000, "1 d 1 h"),
        (9_000_000, "104 d 4 h"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(98_304, "98,304"), (9_999_999, "9,999,999"), (12_345_678, "12.35 M"), (250_600_000_000, "250.6 B")],
)
def test_counts(count: float, text: str) -> None:
    assert short(count) == text
