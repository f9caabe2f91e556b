import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard
from hypothesis import given, settings
from hypothesis import strategies as st

from convert.model_card import (
    Card,
    Phase,
    Score,
    Source,
    front_matter,
    is_generated,
    refresh_card,
    render_card,
)
from recipes.errors import UserError


def make_card(text: str = "laws", licence: str = "official text") -> Card:
    """A card in which `text` stands in every place that a user names."""
    return Card(
        name=f"{text}, phase 1",
        base_model="Qwen/Qwen3-4B",
        languages=("en", "no"),
        licence="apache-2.0",
        sources=(Source(text, f"domain {text}", "tr", licence), Source("english", "replay", "en", "MIT")),
        phases=(
            Phase(f"1 {text}", {text: 750, "english": 250}, {"iterations": "4", "learning rate": "cosine 0.1 → 0"}),
            Phase("2 last", {text: 1_000_000}, {"iterations": "9", "learning rate": text}),
        ),
        settings={"optimizer": "Adam", "note": text},
        scores=(
            Score("legal", None, None, 5.0, 1.0, 10.0, 1.5),
            Score("legal", text, "tr", 5.0, 1.0, 10.0, 1.5),
            Score("replay", "english", "en", 12.0, 1.25, 10.0, 1.0),
        ),
        provenance={"plan": text},
    )


def tables(text: str) -> list[list[str]]:
    """The tables of a Markdown text, as their lines."""
    found: list[list[str]] = [[]]
    for line in text.split("\n"):
        if line.startswith("|"):
            found[-1].append(line)
        elif found[-1]:
            found.append([])
    return [table for table in found if table]


def headings(text: str) -> list[str]:
    return [line for line in text.split("\n") if line.startswith("#")]


def test_the_hubs_own_library_reads_the_front_matter() -> None:
    data = ModelCard(render_card(make_card(), 13, "bfloat16")).data
    assert (data.base_model, data.license, data.language) == ("Qwen/Qwen3-4B", "apache-2.0", ["en", "no"])
    assert (data.library_name, data.pipeline_tag) == ("transformers", "text-generation")
    assert data.to_dict()["base_model_relation"] == "finetune"
    values = {(result.dataset_name, result.metric_type): result.metric_value for result in data.eval_results or []}
    assert values["held-out legal", "perplexity"] == 5.0
    assert values["held-out english", "bits_per_byte"] == 1.25


def test_the_tables_say_what_was_read_how_and_what_came_of_it() -> None:
    text = render_card(make_card(), 13, "bfloat16")
    assert "13 optimizer steps in the last phase. Weights in bfloat16." in text
    assert "| laws | domain laws | tr | official text | 750 (75.0 %) | 1,000,000 (100.0 %) |" in text
    assert "| english | replay | en | MIT | 250 (25.0 %) | – |" in text
    assert "| all | | | | 1,000 | 1,000,000 |" in text
    assert "| learning rate | cosine 0.1 → 0 | laws |" in text
    assert "| legal (all) |  | 10.00 → 5.00 | 1.500 → 1.000 | −50.0 % |" in text
    assert "Worse than the base on: english (+20.0 %)." in text
    assert "Weights: apache-2.0, the licence of the base model." in text


def test_what_is_not_known_is_left_out() -> None:
    text = render_card(Card(), None, "float32")
    assert yaml.safe_load(text.split("---\n")[1]) == {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["qwen3", "continual-pretraining"],
    }
    assert headings(text) == [
        "# A Qwen3 model",
        *(f"## {name}" for name in ("Use", "Evaluation", "Licence", "Provenance", "Limits")),
    ]
    assert "Not evaluated." in text and "not stated" in text


def test_a_merge_names_all_its_models() -> None:
    card = Card(base_model=("Qwen/Qwen3-4B", "Qwen/Qwen3-4B-Base"), base_model_relation="merge")
    text = render_card(card, None, "bfloat16")
    assert ModelCard(text).data.base_model == ["Qwen/Qwen3-4B", "Qwen/Qwen3-4B-Base"]
    assert "merged from [Qwen/Qwen3-4B](https://huggingface.co/Qwen/Qwen3-4B), [Qwen/Qwen3-4B-Base]" in text


PIECES = ["|", "\n", "\r", "\\", "\n---\n", "\n# ", "<!--", "`", "'", '"', ": ", "{{", "%}", "\x85", "\u2028", "a"]
NASTY = st.lists(st.sampled_from(PIECES), max_size=6).map("".join)


@settings(deadline=None, max_examples=25)
@given(NASTY, NASTY)
def test_no_text_breaks_front_matter_or_tables(text: str, licence: str) -> None:
    text = f"x{text}"  # a name is not empty
    plain, card = render_card(make_card(), 13, "bfloat16"), make_card(text, licence)
    made = render_card(replace(card, licence=text), 13, "bfloat16")
    data = ModelCard(made).data
    assert str(data.license).split() == text.split() and data.base_model == "Qwen/Qwen3-4B"
    assert [[line.count("|") for line in table] for table in tables(made)] == [
        [line.count("|") for line in table] for table in tables(plain)
    ]
    assert headings(made)[1:] == headings(plain)[1:]
    assert made.count("<!--") == 1 + made.split("\n---\n")[0].count("<!--")
    assert is_generated(made)


@pytest.mark.parametrize("edit", [("13", "14"), ("## Limits", "## Limits\n\nMine."), ("-->\n", "-->\n\nMine.\n")])
def test_an_edit_is_noticed(edit: tuple[str, str]) -> None:
    text = render_card(make_card(), 13, "bfloat16")
    assert is_generated(text)
    assert not is_generated(text.replace(*edit))
    assert not is_generated("# Mine\n") and not is_generated("")


def test_refreshing_writes_what_changed_and_keeps_what_people_wrote(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    (tmp_path / "conversion.json").write_text(json.dumps({"iteration": 13, "dtype": "bfloat16"}))
    bare = replace(make_card(), scores=())
    assert refresh_card(tmp_path, bare)
    assert readme.read_text() == render_card(bare, 13, "bfloat16")
    os.utime(readme, ns=(1, 1))
    assert refresh_card(tmp_path, bare)
    assert readme.stat().st_mtime_ns == 1  # the same text is not written again
    assert refresh_card(tmp_path, make_card())
    assert "−50.0 %" in readme.read_text()
    readme.write_text(readme.read_text() + "Mine.\n")
    assert not refresh_card(tmp_path, bare)
    assert readme.read_text().endswith("Mine.\n")


@pytest.mark.parametrize("text", ["", "# No fields", "---\nlicense: [\n---\n", "---\n- a list\n---\n", b"\xff\xfe"])
def test_a_card_without_fields_is_one_sentence(tmp_path: Path, text: str | bytes) -> None:
    (tmp_path / "README.md").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match=r"README\.md: .*; (mend it|add them)\.") as error:
        front_matter(tmp_path / "README.md")
    assert "\n" not in str(error.value)
