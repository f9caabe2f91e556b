"""Bibliographies and curricula vitae at the end."""

import pytest

from data_prep.cleaning.bibliography import Bibliography

repair = Bibliography().ready("tr")
BODY = "GİRİŞ\n\n" + "İdarî yargıda temyiz yolu incelenmiştir. " * 40
SOURCES = """GÖZLER, Kemal: İdare Hukuku, Bursa, 2019.
ONAR, Sıddık Sami: İdare Hukukunun Umumî Esasları, 3. Bası, İstanbul, 1966.
http://www.danistay.gov.tr (Erişim: 12.03.2018)"""


@pytest.mark.parametrize(
    "heading", ["KAYNAKÇA", "Kaynakça", "6. KAYNAKLAR", "V. BİBLİYOGRAFYA", "  REFERENCES  ", "# Kaynaklar:"]
)
def test_the_closing_bibliography_goes(heading: str) -> None:
    assert repair(f"{BODY}\n\n{heading}\n\n{SOURCES}\n") == BODY.rstrip()


def test_appendices_stay_and_the_curriculum_vitae_goes() -> None:
    life = "ÖZGEÇMİŞ\n\nAyşe Yılmaz 1990 yılında Ankara'da doğdu."
    appendix = "EK-1: Anket soruları\n\n1. Yaşınız nedir?"
    assert repair(f"{BODY}\n\nKAYNAKÇA\n\n{SOURCES}\n\n{appendix}\n\n{life}\n") == f"{BODY.rstrip()}\n{appendix}"
    assert repair(f"{BODY}\n\nKAYNAKÇA\n\n{SOURCES}\n\n{life}\n\n{appendix}") == f"{BODY.rstrip()}\n{appendix}"


@pytest.mark.parametrize(
    "text",
    [
        f"KAYNAKÇA\n\n{SOURCES}\n\n{BODY}",  # in the first third
        f"{BODY}\n\nKaynaklar\n\nMadde 5 – (Değişik: 2/7/2018)\n\nMadde 6 – (Mülga: 3/7/2019)\n\nMadde 7 – 2020\n",
        f"{BODY}\n\nKAYNAKLAR\n\n{BODY}",  # a chapter on sources
        f"{BODY}\n\nBu kaynakça 1990, 1995 ve 2000 yıllarını kapsar.\n",
        f"{BODY}\n\nÖZGEÇMİŞ\n\n1990 yılında doğdu.",  # no bibliography before it
        "",
    ],
)
def test_other_sections_stay(text: str) -> None:
    assert repair(text) == text


def test_the_last_of_several_goes() -> None:
    text = f"{BODY}\n\nKAYNAKÇA\n\n{SOURCES}\n\nSONUÇ\n\n{BODY}\n\nKAYNAKÇA\n\n{SOURCES}"
    assert repair(text) == f"{BODY}\n\nKAYNAKÇA\n\n{SOURCES}\n\nSONUÇ\n\n{BODY.rstrip()}"
