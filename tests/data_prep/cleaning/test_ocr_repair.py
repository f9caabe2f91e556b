"""The repair steps together: what a scan did to a real law is undone, and what was never scanned stays as it is."""

import difflib
import re
from collections.abc import Callable

import pytest

from data_prep.cleaning.registry import preset
from data_prep.cleaning.step import Drop

Scan = Callable[..., str]

CONTENTS = """İÇİNDEKİLER

Sayfa
ÖNSÖZ ................................................ iii
KISALTMALAR .......................................... vii
GİRİŞ ................................................ 1
1. TEMYİZ KAVRAMI VE TARİHÎ GELİŞİMİ BAKIMINDAN
İDARÎ YARGIDAKİ YERİ . . . . . . . . . . . . . . . . . 5
1.1. Kavram .......................................... 5
1.2. Tarihçe ......................................... 11
SONUÇ ................................................ 93

TABLOLAR LİSTESİ
Tablo 1. Yıllara göre temyiz başvuruları 23
Tablo 2. Dairelere göre bozma oranları 25
Tablo 3. Ortalama inceleme süresi 41
"""

BIBLIOGRAPHY = """KAYNAKÇA

AZRAK, Ali Ülkü: “İdarî Yargıda Temyiz”, İdare Hukuku ve İlimleri Dergisi, S. 3, 1994,
s. 15-33.
GÖZLER, Kemal: İdare Hukuku, C. II, 3. Baskı, Bursa, Ekin, 2019.
GÖZÜBÜYÜK, A. Şeref / TAN, Turgut: İdare Hukuku, C. 2, Ankara, Turhan, 2014.
ONAR, Sıddık Sami: İdare Hukukunun Umumî Esasları, 3. Bası, İstanbul, 1966.
http://www.danistay.gov.tr (Erişim: 12.03.2018)
"""


def repaired(text: str) -> str:
    for step in preset("ocr_theses"):
        result = step.ready("tr")(text)
        assert not isinstance(result, Drop)
        text = result
    return text


def similarity(one: str, other: str) -> float:
    """Share of the words, in their order, that two texts have in common."""
    return difflib.SequenceMatcher(None, one.split(), other.split(), autojunk=False).ratio()


@pytest.mark.parametrize("form_feeds", [True, False])
@pytest.mark.parametrize("headers", [True, False])
@pytest.mark.parametrize("hyphens", [True, False])
def test_a_scanned_law_is_restored(prose: str, scan: Scan, form_feeds: bool, headers: bool, hyphens: bool) -> None:
    scanned = scan(prose, form_feeds=form_feeds, headers=headers, hyphens=hyphens)
    paragraphs = set(prose.split("\n\n"))
    assert not paragraphs & set(scanned.split("\n\n"))
    restored = repaired(scanned)
    assert similarity(prose, restored) > 0.999
    assert len(paragraphs & set(restored.split("\n\n"))) >= 0.95 * len(paragraphs)


def test_contents_and_bibliography_go(prose: str, scan: Scan) -> None:
    restored = repaired("\f".join([CONTENTS, scan(prose), BIBLIOGRAPHY]))
    assert restored[:40] == prose[:40]
    assert restored[-40:] == prose[-40:]


def test_repairing_twice_changes_nothing(prose: str, scan: Scan) -> None:
    once = repaired(scan(prose))
    assert repaired(once) == once


def test_laws_that_were_never_scanned_stay(laws: list[str]) -> None:
    """All that may go are page numbers of the printed collection, and hyphens and blank lines inside of words."""
    page = re.compile(r"[-–— ]*\d{1,4}(-\d{1,3})?[-–— ]*")
    for law in laws[::4]:
        if len(law.split()) < 200:
            continue
        before = re.sub(r"[\s-]", "", "".join(line for line in law.split("\n") if not page.fullmatch(line)))
        after = re.sub(r"[\s-]", "", "".join(line for line in repaired(law).split("\n") if not page.fullmatch(line)))
        assert after == before
