"""Headers, footers and page numbers."""

import gzip
import json
from pathlib import Path

import pytest

from data_prep.cleaning.running_lines import RunningLines

repair = RunningLines().ready("tr")
LEGAL = Path(__file__).parents[4] / "shared" / "data" / "legal" / "laws.jsonl.gz"


def body(count: int, start: int = 0) -> list[str]:
    """Different lines of one sentence, none with a digit."""
    letters = "abcdefghijklmnoprstuvyz"
    return [
        f"davacının {letters[at % 23]}{letters[at // 23 % 23]} sayılı iddiası yerinde görülmüş, davalının savunması ise"
        for at in range(start, start + count)
    ]


def pages(template: str, feed: str = "\f", count: int = 6, lines: int = 12) -> tuple[str, list[str]]:
    """A book, and the lines of its text; `template` of a page holds {number} and {body}."""
    texts = [body(lines, page * lines) for page in range(count)]
    printed = (template.format(number=page, body="\n".join(text)) for page, text in enumerate(texts, 5))
    return feed.join(printed), [line for text in texts for line in text]


def filled(text: object) -> list[str]:
    return [line for line in str(text).split("\n") if line]


@pytest.mark.parametrize(
    "template",
    [
        "{body}\n{number}",
        "{body}\n\n- {number} -\n",
        "Sayfa {number}/17\n{body}",
        "{number}   Ayşe YILMAZ\n\n{body}",
        "ANKARA BAROSU DERGİSİ\n{body}\n2015/1 | {number}",
        "T.C. Danıştay Dergisi\n{body}\n\nAyşe YILMAZ",
    ],
)
def test_running_lines_of_pages_go(template: str) -> None:
    text, lines = pages(template)
    assert filled(repair(text)) == lines
    assert "\f" not in str(repair(text))


def test_left_and_right_pages_and_roman_numbers() -> None:
    numerals = ["v", "vi", "vii", "viii", "ix", "x"]
    headers = ["Temyiz Yolu", "Ayşe YILMAZ"] * 3
    text = "\f".join(
        "\n".join([header, *body(9, at * 9), numeral])
        for at, (header, numeral) in enumerate(zip(headers, numerals, strict=True))
    )
    assert filled(repair(text)) == body(54)


def test_articles_and_lists_at_the_edge_of_pages_stay() -> None:
    text = "\f".join(
        "\n".join([f"MADDE {at} –", *body(9, at * 9), f"{at}. Taraflar", "a) Davacı,", "b) Davalı,"]) for at in range(8)
    )
    assert filled(repair(text)) == text.replace("\f", "\n").split("\n")


def test_a_sentence_goes_on_behind_the_page() -> None:
    text, _ = pages("{body} durdur-\n{number}")
    assert str(repair(text)).count("durdur-\ndavacının") == 5
    text, lines = pages("{body}\n{number}")
    assert repair(text) == "\n".join(lines)
    text, _ = pages("Bu karar bozulmuştur.\n{body} kesindir.\n{number}")
    assert "kesindir.\n\n" in str(repair(text))


@pytest.mark.parametrize(
    "template", ["{body}\n\n{number}\n", "{body}\n{number} Ayşe YILMAZ", "{body}\n\nAnkara Barosu Dergisi\n"]
)
def test_pages_are_found_without_form_feeds(template: str) -> None:
    text, lines = pages(template, feed="\n")
    assert filled(repair(text)) == lines


def test_a_lost_page_number_does_not_matter() -> None:
    text, lines = pages("{body}\n\n{number}\n", feed="\n", count=9)
    assert filled(repair(text.replace("\n9\n", "\n"))) == lines


def test_the_first_title_of_a_table_can_stay() -> None:
    text, _ = pages("Serbest Bırakılan Kadrolar Listesi\n{body}.\n{number}")
    assert "Listesi" not in str(repair(text))
    assert str(RunningLines(keep_first=True).ready("tr")(text)).count("Serbest Bırakılan Kadrolar Listesi") == 1


SECTION = " ".join(body(6)) + "."


@pytest.mark.parametrize(
    "text",
    [
        "\n\n".join(str(number) for number in range(1, 40)),  # a table
        "\n\n".join(f"{number}\n\n{SECTION}" for number in range(1, 5)),  # numbered sections
        "\n\n".join(f"Madde {number} –\n\n{SECTION}" for number in range(1, 12)),
        "\n\n".join(f"Yürürlük\n\n{SECTION}" for _ in range(9)),
        "\n".join(body(50)),
        "",
    ],
)
def test_what_has_no_pages_stays(text: str) -> None:
    assert repair(text) == text


@pytest.mark.skipif(not LEGAL.is_file(), reason="the shared data is not here")
def test_page_numbers_of_printed_laws_go_and_tables_stay() -> None:
    with gzip.open(LEGAL, "rt", encoding="utf-8") as lines:
        laws = {law["id"]: law["text"] for law in map(json.loads, lines)}
    printed = laws["mevzuat-1412-ceza-muhakemeleri-usulu-kanunu"]
    found = repair(printed)
    assert all(f"\n\n{page}\n\n" in printed and f"\n\n{page}\n\n" not in found for page in range(940, 980))
    assert printed.count("Madde ") == str(found).count("Madde ")
    tables = laws["mevzuat-657-devlet-memurlari-kanunu"]  # 850 numbers alone on a line, none of a page
    assert repair(tables) == tables
