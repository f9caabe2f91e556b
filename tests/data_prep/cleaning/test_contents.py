"""Tables of contents."""

import pytest

from data_prep.cleaning.contents import Contents

repair = Contents().ready("tr")
BODY = "GİRİŞ\n\nBu çalışmada idarî yargıda temyiz yolu incelenmiştir.\nİkinci bölümde 2015 yılı ele alınmıştır."


def filled(text: object) -> list[str]:
    return [line for line in str(text).split("\n") if line]


@pytest.mark.parametrize(
    "table",
    [
        "Kapsam ........ 5\nTarihçe ....... 11\nSonuç ......... 93",
        "İÇİNDEKİLER\n\nKapsam ........ 5\nTarihçe ....... 11\nSonuç ......... 93",
        "İçindekiler\nÖNSÖZ . . . . . . . iii\nÇOK UZUN BİR BAŞLIĞIN İLK SATIRI VE\nDEVAMI……… 5\n\nSonuç\t93",
        "CONTENTS\nIntroduction 1\nHistory 7\nMethod 7\nResults 30",
        "TABLOLAR LİSTESİ\nTablo 1. Başvurular 23\nTablo 2. Bozma oranları 25\nTablo 3. Süreler 41\n\n"
        "ŞEKİL DİZİNİ\nŞekil 1. Akış 3\nŞekil 2. Yapı 4\nŞekil 3. Ağ 9",
    ],
)
def test_tables_of_contents_go(table: str) -> None:
    assert repair(f"{table}\n\n{BODY}") == BODY
    assert filled(repair(f"ÖNSÖZ\n\n{table}\n\n{BODY}")) == ["ÖNSÖZ", *filled(BODY)]


@pytest.mark.parametrize(
    "text",
    [
        BODY,
        "Adı soyadı ...............\nDoğum tarihi .............\nAdresi ................... ",
        "Sanık .... hakkında\nsanık .... savunmanı\nkatılan .... vekili",
        "75.000 liraya kadar ........ 25\n100.000 liraya kadar ....... 20\nfazlası ........ 30\nharç .... 5",
        "Kapsam ........ 5\nTarihçe ....... 11",
        "İçindekiler bakımından kitap zengindir.\nSayfa 5\nSayfa 7\nSayfa 9",
        "KISALTMALAR LİSTESİ\nAY: Anayasa\nbkz.: bakınız\nC.: Cilt",
        "Derece\t....\n1\t1320\n2\t1400\n3\t1500",
        "",
    ],
)
def test_other_lines_stay(text: str) -> None:
    assert repair(text) == text
