import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.dedup import ngrams
from data_prep.dedup.ngrams import excerpt, hash_words, windows

TEXTS = st.lists(st.text("abİIıi .\n'’5-ñß法律\u0307\u00adก" + chr(0x1F600), max_size=60), max_size=6)


def reference_words(text: str) -> list[str]:
    """The same rules, one character at a time."""
    spaced = ""
    for character in text:
        if character in "'’ʼ\u00ad\u0307":
            continue
        if unicodedata.category(character)[0] not in "LMN":
            spaced += " "
        elif "\u0e00" <= character <= "\u0eff" or "\u3400" <= character <= "\u9fff":
            spaced += f" {character} "
        else:
            spaced += "i" if character in "Iıİ" else character.lower()
    return spaced.split()


@given(TEXTS)
def test_words_are_equal_exactly_where_the_rules_say_so(texts: list[str]) -> None:
    words = hash_words(texts)
    expected = [(number, word) for number, text in enumerate(texts) for word in reference_words(text)]
    assert words.text.tolist() == [number for number, _ in expected]
    pairs = set(zip(words.hashes.tolist(), [word for _, word in expected], strict=True))
    assert len(pairs) == len({hash for hash, _ in pairs}) == len({word for _, word in pairs})


@given(TEXTS, st.integers(1, 7))
def test_ngrams_are_equal_exactly_where_their_words_are(texts: list[str], n: int) -> None:
    found = windows(hash_words(texts), n)
    expected = []
    start = 0
    for text in texts:
        words = reference_words(text)
        expected += [(start + i, tuple(words[i : i + n])) for i in range(len(words) - n + 1)]
        start += len(words)
    assert found.start.tolist() == [start for start, _ in expected]
    pairs = set(zip(found.hashes.tolist(), [gram for _, gram in expected], strict=True))
    assert len(pairs) == len({hash for hash, _ in pairs}) == len({gram for _, gram in pairs})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("TÜRKİYE IRMAK", "türkiye ırmak"),
        ("TÜRKİYE IRMAK".lower(), "türkiye ırmak"),  # leaves a dot above the i
        ("Kanun'un 5'inci maddesi", "kanunun  5inci\nMADDESİ"),
        ("(Ek: 1/2/2020) bu Kanunda,", "ek 1 2 2020 bu kanunda"),
        ("ana\u00adyasa", "anayasa"),
        ("法律，条文", "法 律 条 文"),
    ],
)
def test_spellings_that_count_as_the_same_words(one: str, other: str) -> None:
    assert hash_words([one]).hashes.tolist() == hash_words([other]).hashes.tolist()


def test_hashes_are_the_same_everywhere() -> None:
    assert windows(hash_words(["Bu Kanun hükümlerini Cumhurbaşkanı yürütür."]), 5).hashes.tolist() == [
        6043508397654869779
    ]


def test_a_text_longer_than_a_block_has_the_words_of_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    text = " ".join(f"sözcük{number}" for number in range(3000))
    whole = hash_words(["önce", text, "sonra"])
    monkeypatch.setattr(ngrams, "_BLOCK", 100)
    parts = hash_words(["önce", text, "sonra"])
    assert np.array_equal(whole.hashes, parts.hashes) and np.array_equal(whole.text, parts.text)
    assert len(np.unique(hash_words(["x" * 1001]).hashes)) == 2  # ten blocks and the rest: there is no space to cut at


def test_an_excerpt_is_the_text_as_it_stands() -> None:
    text = "Madde 1- (Ek: 5/6) Bu Kanun'un amacı, hakları korumaktır."
    assert excerpt(text, 2, 4) == "Ek: 5/6) Bu"
    assert excerpt(text, 7, 9) == "amacı, hakları korumaktır"
