"""The rules against datatrove's own filters, given the same words and lines.

datatrove needs numpy 2 and huggingface-hub 1, which the rest of this project cannot have: the test runs where somebody
puts it on PYTHONPATH with its dependencies.
"""

import gzip
import json
import re
from math import isnan
from pathlib import Path
from typing import Any

import pytest

from data_prep.cleaning.quality import CLOSING, TERMINAL, measure
from data_prep.cleaning.repetition import repeated_characters, repeated_parts, top_characters
from data_prep.cleaning.words import split_words

REASON = "datatrove 0.10 is not installed: it needs other versions of numpy and huggingface-hub"
filters = pytest.importorskip("datatrove.pipeline.filters", reason=REASON, exc_type=ImportError)

ROOT = Path(__file__).parents[3]
SHARED = ROOT.parent / "shared" / "data"
LANGUAGES = {"english": "en", "math": "en", "spanish": "es", "arabic": "ar", "russian": "ru", "chinese": "zh"}
STOP_WORDS = ["ve", "bir", "bu", "ile", "the", "of", "de", "la", "в", "и", "في", "من", "的", "是"]
EACH = 40  # of the documents
LIMITS: dict[str, list[float]] = {  # several a rule, so that both decisions occur
    "min_words": [50, 200],
    "max_words": [200, 2000],
    "min_word_length": [4, 6.5],
    "max_word_length": [5, 6.8],
    "max_hashes": [0.001, 0.1],
    "max_ellipses": [0.001, 0.1],
    "max_bullet_lines": [0.01, 0.3],
    "max_ellipsis_lines": [0.01, 0.3],
    "min_alphabetic_words": [0.7, 0.92],
    "min_stop_words": [2, 3],
    "min_punctuated_lines": [0.12, 0.4],
    "max_short_lines": [0.3, 0.67],
    "max_lines_per_word": [0.05, 0.273],
}
GOPHER = {  # option -> datatrove's argument
    "min_words": "min_doc_words",
    "max_words": "max_doc_words",
    "min_word_length": "min_avg_word_length",
    "max_word_length": "max_avg_word_length",
    "max_hashes": "max_symbol_word_ratio",
    "max_ellipses": "max_symbol_word_ratio",
    "max_bullet_lines": "max_bullet_lines_ratio",
    "max_ellipsis_lines": "max_ellipsis_lines_ratio",
    "min_alphabetic_words": "max_non_alpha_words_ratio",
    "min_stop_words": "min_stop_words",
}
FINEWEB = {
    "min_punctuated_lines": "line_punct_thr",
    "max_short_lines": "short_line_thr",
    "max_lines_per_word": "new_line_ratio",
}
OFF = {"line_punct_thr": 0, "short_line_thr": 9, "char_duplicates_ratio": 9, "new_line_ratio": 9}


def plain(text: str) -> str:
    """Without what is counted otherwise on purpose: blank lines, marks of headings, speech, quotation marks at ends."""
    lines = [line.rstrip(CLOSING) for line in text.split("\n") if line.strip()]
    return "".join(re.sub(r"^(\s*)(?:#+(?= )\s*)*(?:-(?! ))*", r"\1", line) + "\n" for line in lines if line)


@pytest.fixture(scope="module")
def documents() -> list[tuple[str, str]]:
    """Language and text of real documents: of the folder beside the repository, else of the bundled sample."""
    files = sorted(SHARED.glob("*/*.jsonl.gz")) or sorted((ROOT / "data_prep" / "sample").glob("*.jsonl.gz"))
    found = []
    for file in files:
        name = file.name.split(".")[0]
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            texts = [json.loads(line)["text"] for line in lines][::EACH]
        found += [(LANGUAGES.get(name, "tr"), text) for text in map(plain, texts) if text]
    return found


def words_of(text: str, language: str) -> list[str]:
    words = split_words(text, language)
    return [words.vocabulary[number] for number in words.ids]


def theirs(option: str, limit: float, monkeypatch: pytest.MonkeyPatch) -> Any:
    """datatrove's filter with this rule alone, over our words."""
    module, arguments = ("gopher_quality_filter", dict.fromkeys(GOPHER.values()))
    if option in FINEWEB:
        module, arguments = ("fineweb_quality_filter", dict(OFF))
    monkeypatch.setattr(f"datatrove.pipeline.filters.{module}.split_into_words", words_of)
    arguments[GOPHER.get(option) or FINEWEB[option]] = limit
    if option in FINEWEB:
        return filters.FineWebQualityFilter(stop_chars=TERMINAL, language="tr", **arguments)
    return filters.GopherQualityFilter(stop_words=STOP_WORDS, language="tr", **arguments)


@pytest.mark.parametrize("option", LIMITS)
def test_every_decision_on_quality_is_the_same(
    option: str, documents: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from datatrove.data import Document

    decisions: set[bool] = set()
    for limit in LIMITS[option]:
        judge = theirs(option, limit, monkeypatch)
        for language, text in documents:
            measures = measure(text, split_words(text, language), frozenset(STOP_WORDS))
            value = measures[option[4:]]
            if isnan(value):
                continue
            if option == "max_hashes":  # one argument for both symbols there
                text = text.replace("...", "").replace("…", "")
            if option == "max_ellipses":
                text = text.replace("#", "")
            judge.language = language
            kept = value >= limit if option.startswith("min_") else value <= limit
            decisions.add(kept)
            assert (judge.filter(Document(text=text, id="")) is True) == kept, (option, limit, text[:200])
    assert decisions == {True, False}


def test_every_measure_of_repetition_is_the_same(documents: list[tuple[str, str]]) -> None:
    from datatrove.pipeline.filters import gopher_repetition_filter as gopher

    for language, text in documents:
        split, words = split_words(text, language), words_of(text, language)
        for n in (2, 3, 4):
            ngrams = gopher.get_n_grams(words, n)
            assert top_characters(split, n) == (gopher.find_top_duplicate(ngrams) if ngrams else 0)
        ended = [f"{word} " for word in words]  # datatrove joins words without a space, so `a bc` repeats `ab c` there
        for n in range(5, 11):
            repeated = repeated_characters(split._replace(lengths=split.lengths + 1), n)
            assert repeated == gopher.find_all_duplicate(ended, n)
        lines, measures = re.split(r"\n+", text.strip()), repeated_parts(text)
        repeated, characters = gopher.find_duplicates(lines)
        assert measures["repeated_lines"] == pytest.approx(repeated / len(lines))
        assert measures["repeated_line_characters"] == pytest.approx(characters / len(text))
