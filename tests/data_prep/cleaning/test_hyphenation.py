"""Words broken at line ends."""

import pytest

from data_prep.cleaning.hyphenation import Hyphenation

repair = Hyphenation().ready("tr")


@pytest.mark.parametrize(
    ("broken", "whole"),
    [
        ("Yüksek mah-\nkeme kararı bozdu.", "Yüksek mahkeme\nkararı bozdu."),
        ("kararın kaldırıl-\nmasına,\nkarar verildi", "kararın kaldırılmasına,\nkarar verildi"),
        ("de-\nğer-\nlendirme yapıldı", "değerlendirme\nyapıldı"),
        ("sosyo-ekonomik durum ve sosyo-\nekonomik haklar", "sosyo-ekonomik durum ve sosyo-ekonomik\nhaklar"),
        ("birey devlet karşısında, birey-\ndevlet ilişkisi", "birey devlet karşısında, birey-devlet\nilişkisi"),
        ("ekonomik düzen, sosyo-\nekonomik haklar", "ekonomik düzen, sosyo-ekonomik\nhaklar"),
        ("hiç kimse gelmedi, ye dedi, kimse-\nye sormadı", "hiç kimse gelmedi, ye dedi, kimseye\nsormadı"),
        (
            "iflas ve icra, ica-\n\nra dairesi; icara verildi, ic-\n\nra emri",
            "iflas ve icra, icara dairesi; icara verildi, icra emri",
        ),
        ("YARGI kararı. YAR-\nGI YOLU", "YARGI kararı. YARGI\nYOLU"),
        ("İSTANBUL ve istan-\nbul", "İSTANBUL ve istanbul"),
        ("yılı sonundan iti -\nbaren; itibaren", "yılı sonundan itibaren;\nitibaren"),
        ("Anayasa'-\nnın hükmü", "Anayasa'nın\nhükmü"),
    ],
)
def test_broken_words_become_whole(broken: str, whole: str) -> None:
    assert repair(broken) == whole


@pytest.mark.parametrize(
    "text",
    [
        "Madde 79 fıkra üç-\n(22/11/2001 tarihli ve 4721 sayılı Kanunun hükmüdür.)",
        "1998-\n2003 arası",
        "gelirler -\n- bağışlar\n- faizler",
        "Türk-\nYunan sınırı",
        "bir kelime-\n\nbaşka paragraf",
        "Usulsüzlük- Usulsüzlük-\n\nler için ler için; usulsüzlükler",
        "düz bir metin\nhiç tire yok",
    ],
)
def test_other_dashes_stay(text: str) -> None:
    assert repair(text) == text


def test_no_newline_is_left_inside_a_paragraph() -> None:
    assert repair("uzun " * 40 + "karar-\nlar verildi") == "uzun " * 40 + "kararlar verildi"
