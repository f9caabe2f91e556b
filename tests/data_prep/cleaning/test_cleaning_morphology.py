"""The two measures of Turkish morphology, and what they tell apart."""

import gzip
import json
import sys
from itertools import pairwise
from math import log2
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.cleaning.morphology import Morphology, Parts, lower_words, measure, spread, suffix_entropy
from data_prep.cleaning.step import Clean, Drop
from recipes.errors import UserError

SAMPLE = Path(__file__).parents[3] / "data_prep" / "sample"
parts = st.lists(st.builds(Parts, st.sampled_from("abcdef"), st.sampled_from(["", "lar", "da"])), min_size=1)


def documents(name: str) -> list[str]:
    with gzip.open(SAMPLE / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line)["text"] for line in lines]


@pytest.fixture(scope="module")
def clean() -> Clean:
    return Morphology().ready("tr")


@pytest.mark.slow
@pytest.mark.parametrize("source", ["laws", "decisions", "general_tr"])
def test_turkish_stays(clean: Clean, source: str) -> None:
    texts = documents(source)[:20]
    assert sum(isinstance(clean(text), Drop) for text in texts) <= 0.05 * len(texts)


@pytest.mark.parametrize("source", ["english", "spanish", "math", "code_python"])
def test_what_is_not_turkish_goes(clean: Clean, source: str) -> None:
    texts = [text for text in documents(source)[:20] if len(lower_words(text)) >= 50]
    assert texts and all(clean(text) == Drop("morphology.suffix_entropy") for text in texts)


def test_repetition_and_headwords_go(clean: Clean) -> None:
    sentence = "Sanıkların temyiz itirazlarının reddiyle hükümlerin onanmasına oybirliğiyle karar verilmiştir. "
    assert clean(sentence * 20) == Drop("morphology.lemma_diversity")
    headwords = "ev su yol kitap deniz dağ insan çocuk kadın adam gün gece yıl ay hafta saat okul masa kapı duvar "
    assert clean(headwords * 5) == Drop("morphology.suffix_entropy")


def test_options_and_what_is_not_judged(clean: Clean) -> None:
    text = documents("laws")[0]
    assert Morphology(minimum_suffix_entropy=1).ready("tr")(text) == Drop("morphology.suffix_entropy")
    assert Morphology(minimum_lemma_diversity=1).ready("tr")(text) == Drop("morphology.lemma_diversity")
    assert Morphology(minimum_lemma_diversity=1).ready("en")(text) == text
    assert clean("word " * 49) == "word " * 49
    assert isinstance(clean("word " * 50), Drop)


def test_words_are_in_turkish_lower_case() -> None:
    assert lower_words("IŞIK İLE Ankara’DA A.. B.. 3 gün") == ["ışık", "ile", "ankara'da", "gün"]


@given(st.integers(0, 300), st.integers(1, 20), st.integers(1, 10))
def test_windows_are_full_evenly_spread_and_bounded(length: int, size: int, most: int) -> None:
    windows = spread([str(number) for number in range(length)], size, most)
    assert len(windows) == min(length // size, most)
    assert all(len(window) == size for window in windows)
    starts = [int(window[0]) for window in windows]
    assert starts == sorted(set(starts)) and (not starts or starts[0] == 0)
    steps = {(after - before) // size for before, after in pairwise(starts)}
    assert max(steps, default=1) - min(steps, default=1) <= 1


def test_measures_by_hand() -> None:
    window = [Parts("ev", "de"), Parts("ev", "de"), Parts("yol", "da"), Parts("su", ""), Parts("kitap", "")]
    entropy = (2 * 0.25 * 2 + 0.5 * 1) / log2(3)  # shares ¼, ¼, ½ of four different words
    assert suffix_entropy(window) == pytest.approx(entropy)
    assert measure([window, [Parts("ev", "")]]) == pytest.approx((entropy / 2, (4 / 5 + 1) / 2))


@given(parts)
def test_measures_lie_between_nothing_and_one(window: list[Parts]) -> None:
    assert 0 <= suffix_entropy(window) <= 1 + 1e-12
    assert 0 < measure([window])[1] <= 1


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "simplemma", None)
    with pytest.raises(UserError, match="pip install simplemma"):
        Morphology().ready("tr")
