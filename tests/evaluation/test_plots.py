import base64
import re

import pytest
from invented_run import DOMAINS, plan, recipe, result, steps, validations

from evaluation.plots import data_uri, loss_plot, mixture_plot, perplexity_plot


def figures():
    results = [result("base", 200, 60), result("phase_1", 150, 62)]
    names = [phase.name for phase in recipe().phases]
    return {
        "mixture": lambda: mixture_plot(plan(), DOMAINS),
        "loss": lambda: loss_plot(steps(), names),
        "one step": lambda: loss_plot(steps()[:1], names),
        "held out": lambda: loss_plot(steps(), names, validations()),
        "perplexity": lambda: perplexity_plot(results, result("trigram", 180, 70, "trigram"), DOMAINS),
        "base alone": lambda: perplexity_plot(results[:1], None, DOMAINS),
    }


@pytest.mark.parametrize("name", figures())
def test_an_svg_of_its_own(name):
    make = figures()[name]
    uri = data_uri(make())
    head, body = uri.split(",", 1)
    svg = base64.b64decode(body).decode()
    assert head == "data:image/svg+xml;base64"
    assert not re.search(r"<(image|script|text)\b|@import|href=\"(?!#)", svg)
    assert data_uri(make()) == uri


def test_mixture_bars_show_the_shares():
    axes = mixture_plot(plan(), DOMAINS).axes[0]
    for row, phase in enumerate(plan().phases):
        widths = [bar.get_width() for bar in axes.patches if round(bar.get_y() + bar.get_height() / 2) == row]
        assert sorted(widths) == pytest.approx(sorted(100 * s.tokens / phase.tokens for s in phase.sources.values()))
    assert axes.get_xlabel().endswith("(%)")


def test_a_line_stands_at_every_phase_boundary():
    axes = loss_plot(steps(), [phase.name for phase in recipe().phases]).axes[0]
    dashed = [line.get_xdata()[0] for line in axes.lines if line.get_linestyle() == "--"]
    assert dashed == pytest.approx([16.384, 32.768, 49.152])
    assert "thousand" in axes.get_xlabel() and "nats" in axes.get_ylabel()


def test_held_out_losses_are_points_of_the_loss_plot():
    axes = loss_plot(steps(), [phase.name for phase in recipe().phases], validations()).axes[0]
    points = {line.get_label(): line.get_xydata().tolist() for line in axes.lines if line.get_linestyle() == ":"}
    tokens, losses = zip(*points["held out: legal"], strict=True)
    assert tokens == pytest.approx([one.tokens_total / 1e3 for one in validations()])
    assert list(losses) == [one.validation["legal"] for one in validations()]
    assert len(points["held out: replay"]) == 4


def test_labels_do_not_overlap():
    results = [result(name, 200 - i, 60) for i, name in enumerate(["base", *(f"phase_{n}" for n in range(1, 5))])]
    for figure in (mixture_plot(plan(), DOMAINS), perplexity_plot(results, None, DOMAINS)):
        figure.canvas.draw()
        for axes in figure.axes:
            boxes = [text.get_window_extent() for text in axes.texts if text.get_text()]
            assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
