"""Texts that are made to be slow: every step must look at each character a bounded number of times."""

import pytest

from data_prep.cleaning.registry import preset

pytestmark = pytest.mark.slow
LONG = 200_000


@pytest.mark.parametrize(
    "text",
    [
        "a" + " " * LONG + "b",
        "Kapsam " + "." * LONG + " a i",
        "1" * LONG,
        "12 34 " * (LONG // 6),
        "a.b" * (LONG // 3) + "@",
        "a-\n" * (LONG // 3),
        "bir-" + "\n" * LONG,
        "\n".join(str(number % 97) for number in range(LONG // 3)),
        "Kapsam ........ 9\nTarih ........ 3\n" * (LONG // 40),
        "satır sonu\nburada biter ve\n" * (LONG // 30),
        "\f" * LONG,
        "TR" * (LONG // 2),
        "i\u0307" * (LONG // 2),
        "- " * (LONG // 2),
        "IVXLC" * (LONG // 5),
    ],
)
def test_no_text_hangs_a_step(text: str) -> None:
    """A step that took time squared would take minutes here, and the run of all tests with it."""
    for step in preset("ocr_theses")[:-1]:
        text = str(step.ready("tr")(text))
