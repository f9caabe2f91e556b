"""gigatoken against Hugging Face tokenizers, and the separator behind every document."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from data_prep.encode import Encoded, Encoder
from recipes.errors import UserError

SEPARATOR = "<|endoftext|>"


@settings(max_examples=20)
@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"])) | st.just(f"bir {SEPARATOR} iki"), max_size=8))
def test_ids_are_those_of_tokenizers_with_a_separator_each(encoder: Encoder, texts: list[str]) -> None:
    tokens, lengths, _ = encoder.encode([text.encode() for text in texts])
    reference = Tokenizer.from_file(str(encoder.file))
    expected = [[*reference.encode(text, add_special_tokens=False).ids, 8189] for text in texts]
    assert lengths.tolist() == [len(ids) for ids in expected]
    assert tokens.tolist() == [token for ids in expected for token in ids]


@pytest.mark.parametrize("side", ["lstrip", "rstrip"])
def test_a_separator_that_strips_spaces_takes_none_of_its_neighbours(
    encoder: Encoder, tmp_path: Path, side: str
) -> None:
    content = json.loads(encoder.file.read_text())
    next(added for added in content["added_tokens"] if added["content"] == SEPARATOR)[side] = True
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    texts = [b"bir ", b" iki", b"\n"]
    found = Encoder(tmp_path, SEPARATOR).encode(texts)
    assert [array.tolist() for array in found] == [array.tolist() for array in encoder.encode(texts)]


def test_it_says_what_it_is(encoder: Encoder) -> None:
    assert (encoder.vocab_size, encoder.separator_id, encoder.dtype.name) == (8192, 8189, "uint16")


def test_an_unknown_separator_is_a_sentence(encoder: Encoder) -> None:
    with pytest.raises(UserError, match=r"no token '</s>'.*tokenizer\.separator"):
        _ = Encoder(encoder.folder, "</s>").separator_id


def test_a_broken_tokenizer_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(UserError, match=r"expected a readable tokenizer\.json"):
        _ = Encoder(tmp_path, "x").vocab_size
    with pytest.raises(UserError, match=r"expected a readable tokenizer\.json"):
        Encoder(tmp_path, "x").encode([b"y"])


def test_a_difference_names_the_document(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["bir", "iki"]
    encoder.cross_check(texts, ["a:1", "a:2"], encoder.reference(texts))

    def wrong(self: Encoder, texts: list[bytes]) -> Encoded:
        encoded = encode(self, texts)
        encoded.tokens[encoded.lengths[0]] += 1
        return encoded

    encode = Encoder.encode
    monkeypatch.setattr(Encoder, "encode", wrong)
    with pytest.raises(UserError, match="disagree on the document at a:2"):
        encoder.cross_check(texts, ["a:1", "a:2"], encoder.reference(texts))


def test_documents_that_spell_the_separator_are_found(encoder: Encoder) -> None:
    texts = [f"bir {SEPARATOR} iki", "üç", SEPARATOR, f"{SEPARATOR}{SEPARATOR} dört", "beş"]
    assert encoder.encode([text.encode() for text in texts]).broken.tolist() == [0, 2, 3]
    assert encoder.encode([b"bir", b"iki"]).broken.tolist() == []
