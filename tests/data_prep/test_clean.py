"""Cleaning, duplicates and the held-out choice."""

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from data_prep.clean import clean, content_digest, is_held_out, keep_usable
from data_prep.corpus import Corpus
from data_prep.documents import Document, Dropped

SOURCE = {"name": "a", "domain": "b", "files": ["a.jsonl"], "language": "tr", "licence": "none"}


def test_control_characters_go_and_letters_stay() -> None:
    assert clean("\ufeff  I\u0307stanbul\r\n\x00is\u200b\x1fte\x0cson\t.\n ") == "İstanbul\niste\nson\t."
    assert clean("می\u200cخواهم 👨\u200d👩") == "می\u200cخواهم 👨\u200d👩"


@given(st.text())
def test_cleaning_twice_changes_nothing(text: str) -> None:
    once = clean(text)
    assert clean(once) == once
    assert unicodedata.is_normalized("NFC", once)


@given(st.lists(st.text(min_size=1), min_size=1), st.floats(0, 0.9), st.floats(0, 0.09))
def test_more_held_out_keeps_what_was_held_out(texts: list[str], fraction: float, more: float) -> None:
    for text in texts:
        digest = content_digest(text)
        assert is_held_out(digest, fraction + more) or not is_held_out(digest, fraction)


def test_about_the_asked_fraction_is_held_out() -> None:
    chosen = sum(is_held_out(content_digest(f"document {number}"), 0.05) for number in range(20_000))
    assert 900 < chosen < 1_100
    assert not is_held_out(content_digest("x"), 0)


def test_what_cannot_be_used_is_counted() -> None:
    corpus = Corpus.model_validate({"name": "c", "minimum_characters": 3, "sources": [SOURCE]})
    texts = ["madde", " ma ", "madde\r", "x <|endoftext|> y", "fıkra"]
    documents = [Document(text, f"a:{number}", 0) for number, text in enumerate(texts, 1)]
    dropped, seen = Dropped(), {content_digest("fıkra")}
    kept = list(keep_usable(documents, corpus, "<|endoftext|>", seen, dropped))
    assert [document.text for document in kept] == ["madde"]
    assert dropped.examples == {"too_short": ["a:2"], "duplicate": ["a:3", "a:5"], "contains_separator": ["a:4"]}
    assert len(seen) == 2


def test_accents_join_their_letters_once_what_stood_between_is_gone() -> None:
    assert clean("e\u200b\u0301") == "\u00e9"
