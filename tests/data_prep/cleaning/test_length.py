"""Documents that are too short or too long."""

from data_prep.cleaning.length import Length
from data_prep.cleaning.step import Drop


def test_limits_are_allowed_themselves() -> None:
    judge = Length(minimum_characters=3, maximum_characters=9, minimum_words=2).ready("tr")
    assert [judge(text) for text in ("a b", "aa bb ccc")] == ["a b", "aa bb ccc"]
    assert judge("ab") == Drop("length.too_short")
    assert judge("aa bb cccc") == Drop("length.too_long")
    assert judge("abcd ") == Drop("length.few_words")


def test_by_default_only_nothing_is_too_short() -> None:
    assert Length().ready("tr")("") == Drop("length.too_short")
    assert Length().ready("tr")("a") == "a"
