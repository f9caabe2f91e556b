"""With a model of random word vectors: documents of the same words are similar, in whatever order these come."""

import random
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.bundled import SAMPLE
from data_prep.dedup.semantic import SemanticDuplicates, _similar, semantic_duplicates
from recipes.errors import UserError


def require_extra() -> None:
    pytest.importorskip("semhash", reason="the extra `semantic` is not installed")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    require_extra()
    from model2vec import StaticModel
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(SAMPLE.parent / "tokenizers" / "bpe8k" / "tokenizer.json"))
    vectors = np.random.default_rng(0).standard_normal((tokenizer.get_vocab_size(), 64)).astype(np.float32)
    folder = tmp_path_factory.mktemp("model")
    StaticModel(vectors, tokenizer).save_pretrained(folder)
    return str(folder)


def shuffled(text: str) -> str:
    """The same words, each with a space before it, as the tokenizer takes them."""
    words = text.split()
    random.Random(0).shuffle(words)
    return " " + " ".join(words)


THEFT = " Sanığın müştekiye ait cüzdanı cebinden çalması şeklinde gerçekleşen eylemi hırsızlık suçunu oluşturur."
LEASE = " Kiracı, kira bedelini her ayın ilk beş günü içinde kiraya verenin banka hesabına yatırmakla yükümlüdür."


def test_the_first_of_similar_documents_stays(model: str) -> None:
    texts = [THEFT, LEASE, shuffled(THEFT), "", shuffled(LEASE), THEFT, ""]
    goes, pairs = semantic_duplicates(iter(texts), SemanticDuplicates(model=model))
    assert goes.tolist() == [False, False, True, False, True, True, False]  # a text without words is like no other
    assert [pair[:2] for pair in pairs] == [(2, 0), (4, 1), (5, 0)]
    assert all(0.95 <= pair.similarity <= 1.0001 for pair in pairs)


def test_the_threshold_decides(model: str) -> None:
    half = THEFT + LEASE
    assert semantic_duplicates([THEFT, half], SemanticDuplicates(model=model, similarity=0.5))[0].tolist() == [
        False,
        True,
    ]
    assert not semantic_duplicates([THEFT, half], SemanticDuplicates(model=model))[0].any()


def test_only_the_first_tokens_count(model: str) -> None:
    texts = [THEFT + LEASE * 5, THEFT * 6]
    assert semantic_duplicates(texts, SemanticDuplicates(model=model, maximum_tokens=15))[0].tolist() == [False, True]
    assert not semantic_duplicates(texts, SemanticDuplicates(model=model, maximum_tokens=None))[0].any()


@settings(max_examples=15)
@given(st.integers(1, 60), st.sampled_from([0.5, 0.8, 0.95]), st.integers(0, 1000))
def test_who_stays_is_decided_in_order_by_cosine(count: int, similarity: float, seed: int) -> None:
    require_extra()
    vectors = np.random.default_rng(seed).standard_normal((count, 3)).astype(np.float32)
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = units @ units.T
    kept: list[int] = []
    for number in range(count):
        if not any(cosines[number, other] >= similarity for other in kept):
            kept.append(number)
    pairs = _similar(vectors, similarity)
    assert sorted({pair.document for pair in pairs} ^ set(range(count))) == kept
    for pair in pairs:
        assert pair.kept in kept and pair.similarity == pytest.approx(cosines[pair.document, pair.kept], abs=1e-5)


def test_too_many_documents_are_refused(model: str) -> None:
    with pytest.raises(UserError, match=r"than maximum_documents \(2\); raise it"):
        semantic_duplicates([THEFT] * 3, SemanticDuplicates(model=model, maximum_documents=2))


def test_no_documents(model: str) -> None:
    goes, pairs = semantic_duplicates([], SemanticDuplicates(model=model))
    assert goes.shape == (0,) and goes.dtype == bool and pairs == []


def test_a_hub_name_is_refused() -> None:
    with pytest.raises(UserError, match=r"there is no folder 'minishlab/potion-base-8M'; .*nothing is downloaded"):
        semantic_duplicates([THEFT], SemanticDuplicates(model="minishlab/potion-base-8M"))


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    require_extra()
    with pytest.raises(UserError, match="cannot be read as a model2vec model"):
        semantic_duplicates([THEFT], SemanticDuplicates(model=str(tmp_path)))


def test_without_the_extra_its_name_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "semhash", None)
    with pytest.raises(UserError, match=r"semhash is not installed; .*cpt-launcher\[semantic\]"):
        semantic_duplicates([THEFT], SemanticDuplicates(model=str(tmp_path)))
