from pathlib import Path

import pytest

from evaluation.heldout import Document, bounded, encode, load_tokenizer, read_heldout
from recipes.errors import UserError


def tokens(documents, tokenizer):
    return sum(len(ids) for ids in encode(documents, tokenizer, "<|endoftext|>").ids)


def test_reads_every_document(heldout, documents):
    assert sorted(d.text for d in read_heldout(heldout)) == sorted(d.text for d in documents)


def test_blank_documents_are_left_out(tmp_path):
    (tmp_path / "a.jsonl").write_text(
        '{"text": " ", "source": "a", "domain": "x"}\n{"text": "b", "source": "a", "domain": "x"}\n'
    )
    assert read_heldout(tmp_path) == [Document("b", "a", "x")]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "a.jsonl, line 2: not valid JSON"),
        ("[]", "a.jsonl, line 2: expected"),
        ('{"text": 1, "source": "a", "domain": "x"}', "a.jsonl, line 2: expected"),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, message):
    (tmp_path / "a.jsonl").write_text('{"text": "ok", "source": "a", "domain": "x"}\n' + line + "\n")
    with pytest.raises(UserError, match=message):
        read_heldout(tmp_path)


def test_no_heldout_text_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match="found none"):
        read_heldout(tmp_path)
    (tmp_path / "a.jsonl").write_text("")
    with pytest.raises(UserError, match="hold no text"):
        read_heldout(tmp_path)


def test_line_separators_inside_a_text_do_not_split_it(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "a\u2028b\x85c", "source": "a", "domain": "x"}\n', encoding="utf-8")
    assert read_heldout(tmp_path)[0].text == "a\u2028b\x85c"


@pytest.mark.parametrize("budget", [20, 100, 400])
def test_the_budget_is_kept_per_source_whatever_the_order(tokenizer_json: Path, documents, budget):
    tokenizer = load_tokenizer(tokenizer_json.parent)
    chosen = bounded(documents, tokenizer, budget, sequence_length=16)
    assert chosen == bounded(documents[::-1], tokenizer, budget, sequence_length=16)
    for source in ("laws", "wiki", "decisions"):
        mine = [d for d in documents if d.source == source]
        expected = min(budget, tokens(mine, tokenizer))
        # A cut text may tokenize to a little more or less than the tokens it was cut at.
        assert abs(tokens([d for d in chosen if d.source == source], tokenizer) - expected) <= len(mine)


def test_cut_documents_are_beginnings(tokenizer_json, documents):
    tokenizer = load_tokenizer(tokenizer_json.parent)
    texts = [d.text for d in documents]
    for document in bounded(documents, tokenizer, 60, sequence_length=16):
        assert any(text.startswith(document.text) for text in texts)


def test_one_long_document_does_not_stand_for_all(tokenizer_json):
    tokenizer = load_tokenizer(tokenizer_json.parent)
    documents = [Document(f"{i} bir iki üç dört beş " * 400, "s", "d") for i in range(20)]
    chosen = bounded(documents, tokenizer, 800, sequence_length=16)
    assert len(chosen) == 8
    assert len(bounded(documents[:1], tokenizer, 800, sequence_length=16)) == 1
    assert tokens(bounded(documents[:1], tokenizer, 800, sequence_length=16), tokenizer) == pytest.approx(800, abs=2)


def test_unusable_tokenizers_are_one_sentence(tmp_path, tokenizer_json):
    with pytest.raises(UserError, match=r"expected a tokenizer\.json"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(UserError, match="Hugging Face's format"):
        load_tokenizer(tmp_path)
    with pytest.raises(UserError, match=r"no token '</s>'"):
        encode([Document("a", "s", "d")], load_tokenizer(tokenizer_json.parent), "</s>")


def test_only_as_many_documents_are_encoded_as_fill_the_budget(tokenizer_json, monkeypatch):
    tokenizer = load_tokenizer(tokenizer_json.parent)
    documents = [Document(f"{i} bir iki üç dört beş " * 40, "s", "d") for i in range(1000)]
    encoded = []
    monkeypatch.setattr(
        "evaluation.heldout._token_ends", lambda text, *_: encoded.append(text) or list(range(1, len(text) + 1))
    )
    assert bounded(documents, tokenizer, 800, sequence_length=16)
    assert len(encoded) == 8
