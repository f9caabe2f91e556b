"""One spelling for one text."""

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.cleaning import unicode
from data_prep.cleaning.unicode import Unicode

clean = Unicode().ready("tr")
SIGNS = st.sampled_from("aiıİşIc \n\t\r\f\x00\x85\xa0\xad\u0307\u0301\u0327\u0315\u200b\u200d\u2028\ufeffŞ👨ệ가")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\ufeff  I\u0307stanbul\r\n\x00is\u200b\x1fte\x0cson\t.\n ", "İstanbul\niste\nson\t."),
        ("می\u200cخواهم 👨\u200d👩", "می\u200cخواهم 👨\u200d👩"),
        ("e\u200b\u0301", "é"),  # accents join their letters once what stood between is gone
        ("mah\xadkeme kara\xad\nrı", "mahkeme kara-\nrı"),
        ("10\xa0TL", "10 TL"),
        ("i\u0307stinaf", "istinaf"),
        ("def f():\n    return  1\n\n\n\nx", "def f():\n    return  1\n\n\n\nx"),
        ("", ""),
    ],
)
def test_spelling(text: str, expected: str) -> None:
    assert clean(text) == expected


def test_form_feeds_and_dots_depend_on_what_was_asked() -> None:
    assert Unicode(keep_form_feeds=True).ready("tr")("a\fb\r\n") == "a\fb"
    assert Unicode().ready("lt")("i\u0307") == "i\u0307"


@given(st.text() | st.text(SIGNS))
def test_cleaning_twice_changes_nothing(text: str) -> None:
    once = clean(text)
    assert clean(once) == once
    assert unicodedata.is_normalized("NFC", str(once))


@given(st.text() | st.text(SIGNS), st.booleans(), st.booleans())
def test_the_fast_path_changes_nothing_that_the_slow_path_would(text: str, keep: bool, dotted: bool) -> None:
    if unicode._is_clean(text, keep):
        assert unicode._cleaned(text, keep, dotted) == text


def test_plain_characters_never_combine_with_what_stands_before_them() -> None:
    plain = [chr(point) for point in range(0x10000) if re.fullmatch(unicode._PLAIN, chr(point))]
    assert len(plain) > 20_000
    assert not [
        sign for sign in plain if unicodedata.category(sign) in ("Mn", "Mc", "Me", "Cc", "Cf") and sign not in "\n\t"
    ]
    assert unicodedata.is_normalized("NFC", "".join(plain))
