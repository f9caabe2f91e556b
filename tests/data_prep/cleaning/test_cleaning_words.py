"""What counts as a word."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.cleaning.words import split_words


@pytest.mark.parametrize(
    ("language", "text", "words"),
    [
        ("tr", "TCK'nın 53/1. maddesi, 1.234,56 TL", ["TCK'nın", "53/1", "maddesi", "1.234,56", "TL"]),
        ("tr", "Kanun’un 15/06/2012 günlü... E.2013/5", ["Kanun’un", "15/06/2012", "günlü", "E.2013/5"]),
        ("tr", "____ § – (a)", ["a"]),
        ("ar", "أيضًا هنا", ["أيضًا", "هنا"]),
        ("zh", "以太坊 EIP-20。", ["以", "太", "坊", "EIP", "20"]),
        ("code", "def f_x(a):", ["def", "f", "x", "a"]),
        ("tr", "", []),
    ],
)
def test_words(language: str, text: str, words: list[str]) -> None:
    found = split_words(text, language)
    assert [found.vocabulary[number] for number in found.ids] == words


@given(st.lists(st.sampled_from(["ve", "bir", "Kanun'un", "2019/12"])))
def test_numbers_counts_and_lengths_belong_together(words: list[str]) -> None:
    found = split_words(" ".join(words), "tr")
    assert [found.vocabulary[number] for number in found.ids] == words
    assert found.vocabulary == list(dict.fromkeys(words))
    assert np.array_equal(found.counts, [words.count(word) for word in found.vocabulary])
    assert np.array_equal(found.lengths, [len(word) for word in found.vocabulary])
