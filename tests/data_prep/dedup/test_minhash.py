"""Signatures: their estimates on text with known similarity, and that they stay what is on disk."""

import gzip
import hashlib
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.bundled import SAMPLE
from data_prep.dedup import minhash
from data_prep.dedup.minhash import NO_WORDS, RECALL, NearDuplicates, band_keys, bands, estimates, signatures
from data_prep.dedup.shingles import shingles

DEFAULT = NearDuplicates()


def sample_texts(name: str) -> list[str]:
    with gzip.open(SAMPLE.parent / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line)["text"] for line in lines]


def jaccard(left: str, right: str) -> float:
    first, second = (set(shingles([text], DEFAULT.shingle)[0].tolist()) for text in (left, right))
    return len(first & second) / len(first | second)


def test_bands_at_the_defaults() -> None:
    assert bands(DEFAULT) == (21, 9)
    assert bands(NearDuplicates(jaccard=0.5)) == (47, 4)


@given(st.floats(0.5, 1), st.integers(64, 512))
def test_bands_reach_the_stated_recall(threshold: float, permutations: int) -> None:
    options = NearDuplicates(jaccard=threshold, permutations=permutations)
    count, rows = bands(options)
    assert 1 <= count * rows <= permutations
    assert 1 - (1 - threshold**rows) ** count >= RECALL


@settings(max_examples=15)
@given(st.lists(st.text(st.sampled_from("abc \n"), max_size=300), min_size=1), st.sampled_from([64, 100]))
def test_a_signature_depends_on_its_text_alone(texts: list[str], permutations: int) -> None:
    options = NearDuplicates(permutations=permutations, shingle=2)
    together = signatures(texts, options)
    assert together.shape == (len(texts), permutations)
    assert together.dtype == np.uint8
    for text, signature in zip(texts, together, strict=True):
        assert np.array_equal(signatures([text], options)[0], signature)


def test_signatures_stay_what_they_were() -> None:
    """Cleaned parts on disk hold them: a change must be a change of the options too."""
    texts = ["", "İçtihat Metni", " ".join(f"madde {number}" for number in range(2_000))]
    found = hashlib.sha256(signatures(texts, DEFAULT).tobytes()).hexdigest()
    assert found == "e73efd405a649486cf16e17c561be52c674cb683261c286947803fa8cb5910fc"


def test_texts_without_words() -> None:
    assert (signatures(["", "...", "\n-"], DEFAULT) == NO_WORDS).all()
    assert not (signatures(["a"], DEFAULT) == NO_WORDS).all()
    assert signatures([], DEFAULT).shape == (0, DEFAULT.permutations)


@pytest.mark.parametrize("name", ["decisions", "chinese", "math"])
@pytest.mark.parametrize("changed", [0.05, 0.2, 0.4])
def test_estimates_on_text(name: str, changed: float) -> None:
    """The end of a document is replaced; errors are centred on zero, and no wider than k permutations would give."""
    texts = sample_texts(name)[:300]
    others = []
    for number, text in enumerate(texts):
        kept = text[: int(len(text) * (1 - changed))]
        others.append(kept + f" {number} ".join("abcdefghijklmnopqrstuvwxyz"[: int(26 * changed * 2)]))
    exact = np.array([jaccard(left, right) for left, right in zip(texts, others, strict=True)])
    errors = estimates(signatures(texts, DEFAULT), signatures(others, DEFAULT)) - exact
    width = np.sqrt(exact * (1 - exact) / DEFAULT.permutations)
    assert abs(errors.mean()) < 4 * np.sqrt((width**2).sum()) / len(texts)
    assert np.sqrt((errors**2).mean()) < 1.1 * np.sqrt((width**2).mean())


def test_unlike_texts_are_estimated_near_zero() -> None:
    left, right = (
        signatures(sample_texts("math")[:200], DEFAULT),
        signatures(sample_texts("spanish")[:100] * 2, DEFAULT),
    )
    assert abs(estimates(left, right).mean()) < 0.003


def test_a_text_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "\n".join(sample_texts("laws")[:5])
    whole = signatures([text], DEFAULT)
    monkeypatch.setattr(minhash, "_BATCH", len(text) // 7)
    in_pieces = signatures(["kısa", text, "metin"], DEFAULT)
    assert estimates(whole, in_pieces[1:2])[0] > 0.98
    assert np.array_equal(in_pieces[[0, 2]], signatures(["kısa", "metin"], DEFAULT))


def test_equal_bands_have_equal_keys() -> None:
    count, rows = bands(DEFAULT)
    signature = np.random.default_rng(0).integers(0, 256, (2, DEFAULT.permutations), np.uint8)
    signature[1] = signature[0]
    signature[1, rows * 3] ^= 1
    keys = band_keys(signature, DEFAULT)
    assert keys.shape == (2, count)
    assert np.flatnonzero(keys[0] != keys[1]).tolist() == [3]
    assert len(np.unique(band_keys(np.full((1, DEFAULT.permutations), 7, np.uint8), DEFAULT))) == count
