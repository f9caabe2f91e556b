"""The repetition rules against the definitions written out, and what the defaults do."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.cleaning.limits import LINES, REPEATED_NGRAMS, TOP_NGRAMS
from data_prep.cleaning.repetition import (
    Repetition,
    broken_repeated,
    broken_top,
    repeated_characters,
    repeated_parts,
    top_characters,
)
from data_prep.cleaning.step import Drop
from data_prep.cleaning.words import split_words

SENTENCES = [
    "Davacı vekili, taşınmazın müvekkiline ait olduğunu ileri sürerek tapu iptali ile tescil istemiştir.",
    "Davalı, satışın geçerli olduğunu ve bedelin ödendiğini savunarak davanın reddini dilemiştir.",
    "Mahkemece keşif yapılmış, bilirkişi raporu alınmış ve tanıklar dinlenmiştir.",
    "Hükme karşı süresi içinde temyiz yoluna başvurulmuştur.",
]
words = st.lists(st.sampled_from(["ve", "bir", "hüküm", "sanığın"]), max_size=60)


def top_by_definition(words: list[str], n: int) -> int:
    ngrams = [" ".join(words[start : start + n]) for start in range(len(words) - n + 1)]
    if not ngrams:
        return 0
    ngram, count = Counter(ngrams).most_common(1)[0]
    return len(ngram) * count


def repeated_by_definition(words: list[str], n: int) -> int:
    seen: set[tuple[str, ...]] = set()
    characters = start = 0
    while start + n <= len(words):
        ngram = tuple(words[start : start + n])
        if ngram in seen:
            characters += sum(map(len, ngram))
            start += n
        else:
            seen.add(ngram)
            start += 1
    return characters


@given(words, st.integers(1, 6))
def test_ngrams_are_counted_by_their_definitions(words: list[str], n: int) -> None:
    split = split_words(" ".join(words), "tr")
    assert top_characters(split, n) == top_by_definition(words, n)
    assert repeated_characters(split, n) == repeated_by_definition(words, n)


@given(words, st.dictionaries(st.integers(2, 6), st.floats(0.01, 1), max_size=3))
def test_short_cuts_change_no_decision(words: list[str], limits: dict[int, float]) -> None:
    text = " ".join(words)
    split = split_words(text, "tr")
    top = (f"top_{n}_grams" for n, limit in limits.items() if top_by_definition(words, n) > limit * len(text))
    repeated = (
        f"repeated_{n}_grams" for n, limit in limits.items() if repeated_by_definition(words, n) > limit * len(text)
    )
    assert broken_top(split, len(text), limits) == next(top, None)
    assert broken_repeated(split, len(text), limits) == next(repeated, None)


def test_lines_and_paragraphs() -> None:
    measures = repeated_parts("bir\n\niki\n\nbir\niki\n\nbir")
    assert measures["repeated_lines"] == pytest.approx(3 / 5)
    assert measures["repeated_line_characters"] == pytest.approx(9 / 22)
    assert measures["repeated_paragraphs"] == pytest.approx(1 / 4)
    assert measures["repeated_paragraph_characters"] == pytest.approx(3 / 22)
    assert set(repeated_parts("").values()) == {0}


@pytest.mark.parametrize(
    ("reason", "options", "text"),
    [
        ("max_repeated_lines", {}, "\n".join([SENTENCES[0], *["md.)"] * 6])),
        ("max_repeated_line_characters", {}, "\n".join([*SENTENCES, SENTENCES[0], SENTENCES[1]])),
        ("max_repeated_paragraphs", {"max_repeated_paragraphs": 0.1}, "\n\n".join([*SENTENCES, SENTENCES[3]])),
        (
            "max_repeated_paragraph_characters",
            {"max_repeated_paragraph_characters": 0.1},
            "\n\n".join([*SENTENCES, SENTENCES[3]]),
        ),
        (
            "top_2_grams",
            {},
            " ".join(f"kaçak bahis {word}" for word in ["sitesi", "adresi", "bonusu", "oyunu", "girişi", "kodu"]),
        ),
        ("repeated_5_grams", {"top_ngrams": {}}, " ".join(SENTENCES[:1] * 4 + SENTENCES[1:2])),
    ],
)
def test_each_rule_names_itself(reason: str, options: dict[str, object], text: str) -> None:
    assert Repetition.model_validate(options).ready("tr")(text) == Drop(f"repetition.{reason}")


def test_good_text_comes_back_and_rules_can_be_switched_off() -> None:
    good = "\n".join(SENTENCES)
    assert Repetition().ready("tr")(good) is good
    off = Repetition(
        max_repeated_lines=1,
        max_repeated_line_characters=1,
        max_repeated_paragraphs=1,
        max_repeated_paragraph_characters=1,
        top_ngrams={},
        repeated_ngrams={},
    )
    again = "\n\n".join([good] * 5)
    assert off.ready("tr")(again) == again
    assert off.ready("tr")("") == ""
    assert isinstance(Repetition().ready("tr")(again), Drop)


def test_tables_know_the_options() -> None:
    for limits in LINES.values():
        assert limits.keys() == Repetition.model_fields.keys() - {"top_ngrams", "repeated_ngrams"}
    for table in (TOP_NGRAMS, REPEATED_NGRAMS):
        for ngrams in table.values():
            assert list(ngrams) == sorted(ngrams)
