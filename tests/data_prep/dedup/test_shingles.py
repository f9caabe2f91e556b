"""Shingles against a plain reading of their definition."""

import unicodedata
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.dedup.shingles import shingles

TEXTS = st.text(st.sampled_from("aAbıIİiçÇ1²_-.,\n ’مَ字仮ก\u200d"), max_size=30)


def plain_words(text: str) -> list[str]:
    words: list[str] = []
    inside = False
    for character in text:
        if character in "字仮ก":
            words.append(character)
            inside = False
        elif unicodedata.category(character)[0] in "LNM":
            folded = unicodedata.normalize("NFKD", character.upper().casefold())[0]
            words[-1:] = [words[-1] + folded] if inside else [*words[-1:], folded]
            inside = True
        else:
            inside = False
    return words


def plain_shingles(text: str, size: int) -> list[tuple[str, ...]]:
    words = plain_words(text)
    return [tuple(words[start : start + size]) for start in range(max(len(words) - size + 1, bool(words)))]


def per_text(texts: Sequence[str], size: int) -> list[list[int]]:
    hashes, counts = shingles(texts, size)
    assert len(hashes) == counts.sum()
    values = iter(hashes.tolist())
    return [[next(values) for _ in range(count)] for count in counts]


@given(st.lists(TEXTS), st.integers(1, 4))
def test_one_hash_per_shingle(texts: list[str], size: int) -> None:
    expected = [plain_shingles(text, size) for text in texts]
    hashes = per_text(texts, size)
    assert [len(of_text) for of_text in hashes] == [len(of_text) for of_text in expected]
    pairs = {pair for text in zip(expected, hashes, strict=True) for pair in zip(*text, strict=True)}
    assert len(pairs) == len({shingle for shingle, _ in pairs}) == len({number for _, number in pairs})


@given(st.lists(TEXTS, min_size=1), st.integers(1, 4))
def test_other_texts_change_nothing(texts: list[str], size: int) -> None:
    assert per_text(texts, size) == [per_text([text], size)[0] for text in texts]


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("YARGITAY 4. Ceza Dairesi", "Yargıtay 4 ceza dairesi,"),
        ("İÇTİHAT metni", "içtihat\nMetni"),
        ("hâlâ", "hala"),
        ("المَحكمة", "المَحكمة."),
        ("最高法院", "最 高\n法院"),
    ],
)
def test_same_words(left: str, right: str) -> None:
    assert per_text([left], 5) == per_text([right], 5)


@pytest.mark.parametrize(
    ("left", "right"), [("2013/14675 E.", "2013/14676 E."), ("bir iki", "iki bir"), ("ab c", "a bc")]
)
def test_other_words(left: str, right: str) -> None:
    assert not set(per_text([left], 5)[0]) & set(per_text([right], 5)[0])


def test_a_lone_surrogate_is_no_error() -> None:
    assert per_text(["bir \ud800 iki"], 5) == per_text(["bir iki"], 5)
