"""The committed fit: how good it is, what it was never shown, and that it can be made again."""

from dataclasses import replace
from pathlib import Path

import pytest

from launch.estimate.calibration import Calibration, Errors, calibration, fit, left_out_errors
from launch.estimate.published import blind, published
from launch.estimate.rows_view import prediction

ROWS, FITTED = published(), calibration()


def test_rows_that_were_left_out_are_predicted_within_15_percent_but_three() -> None:
    """The three are measurements at the limit of the GPU's memory or where communication outgrows arithmetic."""
    assert len(FITTED.left_out_errors) == len(FITTED.left_out_model_errors) == len(ROWS)
    errors = Errors.of(FITTED.left_out_errors)
    assert errors.mean < 0.04 and errors.worst < 0.30
    outside = {row.name for row, error in zip(ROWS, FITTED.left_out_errors, strict=True) if abs(error) > 0.15}
    assert outside <= {
        "mpt_30b 8192 × 1 × 21 on 8 full, recompute",
        "modalities_28b 4096 × 1 × 1 on 128 full",
        "modalities_2p7b 4096 × 2 × 1 on 512 full",
    }


def test_rows_whose_whole_model_was_left_out_are_predicted_within_15_percent_on_average() -> None:
    assert Errors.of(FITTED.left_out_model_errors).mean < 0.10


def test_the_stored_rates_give_the_errors_that_a_fit_should() -> None:
    errors = [prediction(row, FITTED) / row.tokens_per_second - 1 for row in ROWS]
    assert Errors.of(errors).mean < Errors.of(FITTED.left_out_errors).mean + 1e-9
    assert sum(errors) / len(errors) == pytest.approx(0, abs=0.02)  # no drift one way


def test_the_published_run_lies_between_hidden_and_unhidden_communication() -> None:
    """It was never fitted. What it does not say is whether its communication was overlapped."""
    run = blind()
    hidden = prediction(run, FITTED)
    waited_for = prediction(replace(run, layout=replace(run.layout, overlap_data=False)), FITTED)
    assert waited_for < run.tokens_per_second < hidden
    assert waited_for == pytest.approx(run.tokens_per_second, rel=0.15)


@pytest.mark.slow
def test_a_fit_finds_the_rates_that_made_the_rows() -> None:
    """Rows invented with known rates: what comes back predicts them."""
    some = ROWS[:20] + ROWS[70:100] + ROWS[-12:]
    invented = [replace(row, tokens_per_second=prediction(row, FITTED)) for row in some]
    fitted = Calibration(fit(invented), [], [])
    for row in invented:
        assert prediction(row, fitted) == pytest.approx(row.tokens_per_second, rel=0.01)


@pytest.mark.slow
def test_fitting_again_gives_the_committed_rates_and_errors() -> None:
    rates = fit(ROWS)
    for trainer, stored in FITTED.rates.items():
        for part in ("kernels", "fabric"):
            assert vars(getattr(rates[trainer], part)) == pytest.approx(vars(getattr(stored, part)), rel=0.02, abs=1e-4)
    for index in (0, 130, 200):
        assert left_out_errors(ROWS, [index], rates) == pytest.approx([FITTED.left_out_errors[index]], abs=2e-3)


def test_the_document_states_the_committed_errors() -> None:
    text = (Path(__file__).parents[3] / "docs" / "estimate.md").read_text(encoding="utf-8")
    for errors in (Errors.of(FITTED.left_out_errors), Errors.of(FITTED.left_out_model_errors)):
        within, worst = f"{errors.within_15_percent} of {errors.rows} within 15 %", f"worst {errors.worst:.1%}"
        assert within in text and worst.replace("%", " %") in text
        assert f"{errors.mean:.1%}".replace("%", " %") in text
    run, peak = blind(), 400 * 989e12
    flops = run.network.flops_per_token(4096)
    for overlap in (True, False):
        tokens = 400 * prediction(replace(run, layout=replace(run.layout, overlap_data=overlap)), FITTED)
        assert f"| {tokens / 1e6:.2f} M | {tokens * flops / peak:.1%}".replace("%", " %") in text
