"""What is personal is masked, what is the law's survives."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.cleaning.privacy import Privacy, is_iban, is_national_id

mask = Privacy().ready("tr")
LEGAL = Path(__file__).parents[4] / "shared" / "data" / "legal"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("Yazışma: ayse.yilmaz+tez@ankara.edu.tr.", "Yazışma: [EMAIL]."),
        ("Tel: 0312 417 12 34, Faks 0 (312) 417-12-35", "Tel: [PHONE], Faks [PHONE]"),
        ("(0312) 417 12 34 veya (312) 417 12 34", "[PHONE] veya [PHONE]"),
        ("+90 532 123 45 67, +905321234567, 00905321234567, 05321234567", "[PHONE], [PHONE], [PHONE], [PHONE]"),
        ("+44 20 7946 0958 ve +1 (212) 555-0123", "[PHONE] ve [PHONE]"),
        ("Telefon: 417 12 34", "Telefon: [PHONE]"),
        ("TR33 0006 1005 1978 6457 8413 26 nolu hesap", "[IBAN] nolu hesap"),
        ("TR330006100519786457841326 ZİRAAT", "[IBAN] ZİRAAT"),
        ("GB29 NWBK 6016 1331 9268 19 BANK", "[IBAN] BANK"),
        ("T.C. kimlik no 10000000146 olan sanık", "T.C. kimlik no [NATIONAL_ID] olan sanık"),
        ("(10000000146)\n10000000146,", "([NATIONAL_ID])\n[NATIONAL_ID],"),
    ],
)
def test_personal_data_is_masked(text: str, masked: str) -> None:
    assert mask(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "5237 sayılı Kanunun 53/1-a maddesi, 2015/1234 E., 2016/56789 K., 2013/14675 Esas",
        "11.09.2013 tarihli, 11/9/2013 - 6495/102 md., 0312.2013",
        "1.250.000.000 TL, 350 000 000 lira, 12.345,67 TL, 10000000146,50 TL, 0.3333333333",
        "10000000147 ve 12345678901 doğru kimlik numarası değildir; 100000001460 da",
        "TR34 0006 1005 1978 6457 8413 26 yanlış denetim basamağı",
        "Tebliğname No : 4 - 2011/150811, 4 - 2011/232728 ve 100-0312 4171234",
        "@hurremsultan3 kullanıcı isimli instagram hesabı",
        "Telgraf ve Telefon Kanunu 406, cep telefonları için % 6",
        "ISBN 978-605-05-0123-4, Resmî Gazete 29872",
        "2 + 12345678, a+1234567890",
        "",
    ],
)
def test_numbers_of_the_law_survive(text: str) -> None:
    assert mask(text) == text


def test_kinds_can_be_chosen() -> None:
    assert Privacy(kinds=["email"]).ready("tr")("a@b.org 05321234567") == "[EMAIL] 05321234567"
    assert Privacy(kinds=["phone"]).ready("tr")("a@b.org 05321234567") == "a@b.org [PHONE]"


@given(st.integers(100_000_000, 999_999_999), st.integers(0, 99))
def test_one_pair_of_check_digits_makes_a_national_id(nine: int, pair: int) -> None:
    valid = [number for number in (f"{nine}{two:02}" for two in range(100)) if is_national_id(number)]
    assert len(valid) == 1
    assert is_national_id(f"{nine}{pair:02}") == (f"{nine}{pair:02}" in valid)


@given(st.text("0123456789", min_size=22, max_size=22))
def test_check_digits_of_an_iban_by_the_standard(account: str) -> None:
    check = 98 - int(f"{account}292700") % 97  # T is 29, R is 27
    assert is_iban(f"TR{check:02}{account}")
    assert not is_iban(f"TR{(check + 1) % 97:02}{account}")


def legal_texts() -> Iterator[str]:
    for file in sorted(LEGAL.glob("*.jsonl.gz")):
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            yield from (json.loads(line)["text"] for line in lines)


@pytest.mark.slow
@pytest.mark.skipif(not LEGAL.is_dir(), reason="the shared data is not here")
def test_nothing_is_masked_in_laws_and_decisions_that_hold_nothing_personal() -> None:
    """All 9,927 were masked when they were collected, so that whatever is masked now is a mistake."""
    assert [text for text in legal_texts() if mask(text) != text] == []


def test_a_decision_is_masked_where_it_is_personal_alone(laws: list[str]) -> None:
    personal = "\nDavacı (T.C. 10000000146, 0532 123 45 67, a.b@c.com.tr) hesabı TR33 0006 1005 1978 6457 8413 26\n"
    masked = "\nDavacı (T.C. [NATIONAL_ID], [PHONE], [EMAIL]) hesabı [IBAN]\n"
    for law in laws:
        middle = len(law) // 2
        assert mask(law[:middle] + personal + law[middle:]) == law[:middle] + masked + law[middle:]
