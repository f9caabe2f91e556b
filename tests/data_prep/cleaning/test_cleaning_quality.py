"""Each quality rule, its switches, and what the defaults do to the bundled text."""

import gzip
import json
from pathlib import Path

import pytest

from data_prep.cleaning.limits import QUALITY, STOP_WORDS
from data_prep.cleaning.quality import Quality, first_broken
from data_prep.cleaning.step import Drop

SAMPLE = Path(__file__).parents[3] / "data_prep" / "sample"
SENTENCE = "Yerel mahkemece verilen hüküm temyiz edilmekle, başvurunun niteliği ve suç tarihine göre dosya görüşüldü."
GOOD = "\n".join([SENTENCE] * 8)
NUMBERS = "Madde 12 – (Mülga: 2/7/2018 - 703/63 md.)\n"


def documents(name: str) -> list[str]:
    with gzip.open(SAMPLE / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line)["text"] for line in lines]


def test_good_text_comes_back_as_it_was() -> None:
    assert Quality().ready("tr")(GOOD) is GOOD


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("min_words", SENTENCE),
        ("max_word_length", "\n".join(["yerelmahkemeceverilen hükümtemyizedilmekle ve"] * 20)),
        ("min_word_length", "a b ve c d o e f g\n" * 20),
        ("max_hashes", GOOD + "\nceza #hukuk #dava #karar" * 10),
        ("max_ellipses", GOOD + " ... … ..." * 20),
        ("max_bullet_lines", "\n".join(f"- {SENTENCE}" for _ in range(8))),
        ("max_ellipsis_lines", "\n".join(f"{SENTENCE}.." for _ in range(8))),
        ("min_alphabetic_words", f"{SENTENCE}\n" + NUMBERS * 20),
        ("min_stop_words", "\n".join(["Elma armut kiraz vişne şeftali kayısı üzüm incir"] * 8)),
        ("max_lines_per_word", SENTENCE + "\nHanımınçiftliği Belediyesi" * 40),
    ],
)
def test_each_rule_names_itself(rule: str, text: str) -> None:
    assert Quality().ready("tr")(text) == Drop(f"quality.{rule}")
    off: float = 0 if rule.startswith("min_") else float("inf")
    assert Quality.model_validate({rule: off}).ready("tr")(text) != Drop(f"quality.{rule}")


@pytest.mark.parametrize(
    ("option", "limit", "text"),
    [
        ("max_words", 10, GOOD),
        ("min_punctuated_lines", 0.5, GOOD.replace("görüşüldü.", "görüşüldü,")),
        ("max_short_lines", 0.3, GOOD + "\nGereği düşünüldü:" * 8),
    ],
)
def test_rules_that_turkish_has_switched_off(option: str, limit: float, text: str) -> None:
    assert Quality().ready("tr")(text) == text
    assert Quality.model_validate({option: limit}).ready("tr")(text) == Drop(f"quality.{option}")


def test_headings_are_no_hashes_and_few_lines_have_no_shares() -> None:
    assert isinstance(Quality().ready("tr")("\n".join(f"### {SENTENCE}" for _ in range(8))), str)
    assert isinstance(Quality().ready("tr")("... ".join([SENTENCE] * 8) + "..."), str)


def test_speech_is_no_list_and_ends_in_quotation_marks() -> None:
    speech = "\n".join(
        ['-¡Válame Dios -dijo don Quijote-, y qué de necedades vas, Sancho, ensartando en la noche!"'] * 8
    )
    assert Quality().ready("es")(speech) == speech


def test_stop_words_count_in_capitals_too() -> None:
    text = "TÜRKİYE İLE ÖZBEKİSTAN ARASINDAKİ TİCARET ANLAŞMASI İÇİN\n" * 8
    assert isinstance(Quality(min_stop_words=2).ready("tr")(text), str)
    assert Quality(min_stop_words=2).ready("en")(text) == Drop("quality.min_stop_words")
    assert Quality(stop_words=["TİCARET"]).ready("tr")(text) == text


def test_a_language_without_stop_words_is_not_asked_for_them() -> None:
    text = "Dette er en norsk tekst som er lang nok til å bli lest av alle reglene her i dag og i morgen. " * 3
    assert Quality().ready("no")(text) == text


def test_the_tables_know_the_options_and_nothing_else() -> None:
    for limits in QUALITY.values():
        assert set(limits) == Quality.model_fields.keys() - {"stop_words"}
    assert STOP_WORDS.keys() < QUALITY.keys()


def test_the_first_broken_limit_is_named() -> None:
    limits = {"min_words": 2.0, "max_words": 3.0}
    assert [first_broken(limits, {"words": words}) for words in (1, 2, 3, 4)] == ["min_words", None, None, "max_words"]


@pytest.mark.parametrize(
    ("source", "language", "most"),
    [
        ("laws", "tr", 0.02),
        ("decisions", "tr", 0.005),
        ("general_tr", "tr", 0.02),
        ("english", "en", 0.03),
        ("math", "en", 0.02),
        ("code_python", "code", 0),
        ("spanish", "es", 0.05),  # the bundled pieces of web pages are sometimes no more than a list of links
        ("arabic", "ar", 0.07),
        ("russian", "ru", 0.13),
        ("chinese", "zh", 0.08),
    ],
)
def test_defaults_keep_the_bundled_text(source: str, language: str, most: float) -> None:
    clean = Quality().ready(language)
    texts = documents(source)[::2]
    assert sum(isinstance(clean(text), Drop) for text in texts) <= most * len(texts)
