"""Lines broken at the width of a page."""

import textwrap

import pytest

from data_prep.cleaning.broken_lines import BrokenLines

repair = BrokenLines().ready("tr")
PARAGRAPH = (
    "Dosyadaki yazılara, kararın dayandığı delillerle yasaya uygun gerektirici nedenlere ve özellikle delillerin "
    "takdirinde bir isabetsizlik bulunmamasına göre yerinde olmayan bütün temyiz itirazlarının reddi ile usul ve "
    "yasaya uygun olan hükmün onanmasına, aşağıda yazılı harcın temyiz edenden alınmasına oybirliğiyle karar verildi."
)
WRAPPED = textwrap.fill(PARAGRAPH, 70)


def test_lines_become_paragraphs() -> None:
    assert repair(f"{WRAPPED}\n\n{WRAPPED}") == f"{PARAGRAPH}\n\n{PARAGRAPH}"


def test_trailing_blanks_do_not_matter() -> None:
    assert repair(WRAPPED.replace("\n", "  \n")) == PARAGRAPH


@pytest.mark.parametrize(
    "block",
    [
        "MADDE 3 – (1) Bu Kanunun uygulanmasında;\na) Bakan: Adalet Bakanını,\nb) Kurul: Yüksek Kurulu,\nifade eder.",
        "1. Davanın kabulüne\n2. Harcın davalıdan alınmasına\n3. Kararın tebliğine",
        "- gelirler\n- giderler\n• faizler",
        "İKİNCİ BÖLÜM\nGenel Hükümler\nSüreler",
        "Korkma, sönmez bu şafaklarda yüzen al sancak;\nSönmeden yurdumun üstünde tüten en son ocak.",
        "Derece    Gösterge    Aylık\n1         1320        5800\n2         1155        5000",
        "Geçici Madde 2 –\nEk Madde 1 –",
        "[1] 3/10/2001 tarihli Kanunla\n[2] 7/5/2004 tarihli Kanunla",
    ],
)
def test_headings_lists_verses_and_tables_stay(block: str) -> None:
    assert repair(f"{WRAPPED}\n\n{block}\n\n{WRAPPED}") == f"{PARAGRAPH}\n\n{block}\n\n{PARAGRAPH}"


def test_an_article_ends_the_paragraph_before_it() -> None:
    text = f"{WRAPPED}\nMADDE 4 – (1) {WRAPPED}\n(2) {WRAPPED}\na) {WRAPPED}"
    assert repair(text) == f"{PARAGRAPH}\nMADDE 4 – (1) {PARAGRAPH}\n(2) {PARAGRAPH}\na) {PARAGRAPH}"


def test_an_ordinal_in_a_sentence_is_no_item() -> None:
    line = "temyiz incelemesi sonunda 2004 sayılı İcra ve İflas Kanununun sayılan"
    assert repair(f"{WRAPPED}\n\n{line}\n5. maddesi uyarınca reddedildi.").endswith(
        "sayılan 5. maddesi uyarınca reddedildi."
    )


def test_an_indented_line_begins_a_paragraph() -> None:
    indented = WRAPPED.replace("Dosyadaki", "   Dosyadaki", 1)
    assert repair(f"{indented}\n{indented}").split("\n") == [f"   {PARAGRAPH}"] * 2


@pytest.mark.parametrize(
    "text",
    [
        "\n".join([PARAGRAPH] * 4),  # a line is a paragraph
        "Ne içindeyim zamanın,\nne de büsbütün dışında;\nyekpare, geniş bir anın\nparçalanmaz akışında.",
        "bir\niki\nüç\ndört\nbeş",
        "",
    ],
)
def test_what_was_not_wrapped_stays(text: str) -> None:
    assert repair(text) == text
