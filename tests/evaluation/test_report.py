import json
import re

import pytest
from invented_run import DOMAINS, plan, recipe, result, steps

from evaluation.report import make_report, render_markdown, write_report
from recipes.errors import UserError

TABLES = ("mixture", "training", "changes", "perplexity", "bits")


@pytest.fixture
def report():
    results = [result("base", 200, 60), result("phase_1", 150, 62), result("phase_2", 100, 66)]
    return make_report(recipe(), results, plan(), DOMAINS, steps(), result("trigram", 180, 70, "trigram"))


@pytest.mark.slow
def test_the_page_loads_nothing_from_elsewhere(report, tmp_path):
    page = write_report(report, steps(), tmp_path).read_text(encoding="utf-8")
    sources = re.findall(r'(?:src|href|srcset|action)\s*=\s*"([^"]*)"', page)
    assert len(sources) == 3
    assert all(source.startswith("data:image/svg+xml;base64,") for source in sources)
    assert not re.search(r"<script|<link|<iframe|@import|url\(|https?://", page)


def test_the_page_has_every_table_and_number(report, tmp_path):
    page = write_report(report, steps(), tmp_path).read_text(encoding="utf-8")
    assert re.findall(r'<table id="(\w+)"', page) == list(TABLES)
    for text in ("−50.0 %", "+10.0 %", "200.00", "524,288", "runs/x/phase_2", "Kneser-Ney", "decisions"):
        assert text in page


@pytest.mark.slow
def test_json_and_markdown_say_the_same(report, tmp_path):
    write_report(report, steps(), tmp_path)
    content = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert content["changes"][-1]["perplexity"] == pytest.approx({"legal": -50, "general": 10, "replay": 10})
    assert content["results"][0]["domains"]["legal"]["perplexity"] == pytest.approx(200)
    markdown = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "| legal | 200.00 | 100.00 | −50.0 % |" in markdown


def test_markdown_tables_are_whole(report):
    width = 0
    for line in render_markdown(report).split("\n"):
        width = width if line.startswith("|") else 0
        if line.startswith("|"):
            assert width in (0, line.count("|"))
            width = line.count("|")


def test_names_cannot_inject_markup(tmp_path):
    report = make_report(recipe(), [result("<script>alert(1)</script>", 200, 60)])
    assert "<script" not in write_report(report, [], tmp_path).read_text(encoding="utf-8")


def test_a_base_alone_is_a_report_without_changes(tmp_path):
    page = write_report(make_report(recipe(), [result("base", 200, 60)]), [], tmp_path).read_text(encoding="utf-8")
    assert re.findall(r'<table id="(\w+)"', page) == ["perplexity", "bits"]


def test_no_results_or_other_text_is_one_sentence():
    with pytest.raises(UserError, match="at least one model"):
        make_report(recipe(), [])
    other = result("trigram", 1, 1, "trigram").model_copy(update={"inputs": {"heldout": "b", "sequence_length": 256}})
    with pytest.raises(UserError, match="do not compare"):
        make_report(recipe(), [result("base", 200, 60)], trigram=other)
