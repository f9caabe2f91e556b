import math

import numpy as np
import pytest
import torch

from evaluation.heldout import encode, load_tokenizer
from evaluation.perplexity import document_nll, load_model, windows
from evaluation.results import score_by
from recipes.errors import UserError

SEPARATOR = "<|endoftext|>"


@pytest.fixture
def encoded(documents, tokenizer_json):
    return encode(documents, load_tokenizer(tokenizer_json.parent), SEPARATOR)


def one_by_one(model, encoded, sequence_length):
    """The definition, written out: one window after the other, one token after the other."""
    total = []
    for ids in encoded.ids:
        stream, nll = [encoded.separator_id, *ids.tolist()], 0.0
        for start in range(0, len(stream) - 1, sequence_length):
            inputs = stream[start : start + sequence_length]
            with torch.inference_mode():
                logits = model(input_ids=torch.tensor([inputs])).logits[0].double()
            for position in range(len(inputs)):
                if start + position + 1 < len(stream):
                    nll -= logits[position].log_softmax(-1)[stream[start + position + 1]].item()
        total.append(nll)
    return np.array(total)


@pytest.mark.parametrize("sequence_length", [pytest.param(1, marks=pytest.mark.slow), 7, 64])
def test_equals_the_definition(make_model, encoded, sequence_length):
    model = load_model(make_model("m"), "cpu")
    expected = one_by_one(model, encoded, sequence_length)
    np.testing.assert_allclose(document_nll(model, encoded, sequence_length), expected, rtol=1e-5)


@pytest.mark.slow
def test_small_batches_change_nothing(make_model, encoded, monkeypatch):
    model = load_model(make_model("m"), "cpu")
    expected = document_nll(model, encoded, 16)
    monkeypatch.setattr("evaluation.perplexity.LOGITS_PER_BATCH", {"cpu": 1})
    np.testing.assert_allclose(document_nll(model, encoded, 16), expected, rtol=1e-5)


def test_windows_predict_every_token_once():
    ids = np.arange(1, 11)
    cut = list(windows(ids, 0, 4))
    assert [window.tolist() for window in cut] == [[0, 1, 2, 3, 4], [4, 5, 6, 7, 8], [8, 9, 10]]
    assert np.concatenate([window[1:] for window in cut]).tolist() == ids.tolist()


def test_a_uniform_model_has_the_vocabulary_as_perplexity(make_model, encoded):
    model = load_model(make_model("m", edit=lambda m: m.model.norm.weight.data.zero_()), "cpu")
    sources, domains = score_by(encoded, document_nll(model, encoded, 16))
    for score in [*sources.values(), *domains.values()]:
        assert score.perplexity == pytest.approx(320, rel=1e-6)


def test_bits_per_byte_identity(make_model, encoded):
    sources, domains = score_by(encoded, document_nll(load_model(make_model("m"), "cpu"), encoded, 16))
    texts = [d.text.encode() for d in encoded.documents if d.domain == "legal"]
    legal = domains["legal"]
    assert legal.bytes == sum(map(len, texts))
    assert legal.bits_per_byte * legal.bytes == pytest.approx(legal.tokens * math.log2(legal.perplexity))
    assert legal.nll == pytest.approx(sources["laws"].nll + sources["decisions"].nll)


def test_advance_hears_of_every_token(make_model, encoded):
    heard = []
    document_nll(load_model(make_model("m"), "cpu"), encoded, 16, heard.append)
    assert sum(heard) == sum(map(len, encoded.ids))


def test_nan_weights_are_refused(make_model, encoded):
    model = load_model(make_model("m", edit=lambda m: m.model.norm.weight.data.fill_(math.nan)), "cpu")
    with pytest.raises(UserError, match="the loss on decisions is nan"):
        score_by(encoded, document_nll(model, encoded, 16))


def test_a_tokenizer_larger_than_the_model_is_refused(make_model, encoded):
    model = load_model(make_model("m", vocab_size=280), "cpu")
    with pytest.raises(UserError, match="the tokenizer has 300 tokens but the model only 280"):
        document_nll(model, encoded, 16)


def test_a_window_beyond_the_positions_is_refused(make_model, encoded):
    with pytest.raises(UserError, match=r"`evaluation.sequence_length` \(65\)"):
        document_nll(load_model(make_model("m"), "cpu"), encoded, 65)


def test_broken_folders_are_one_sentence(make_model, tmp_path):
    with pytest.raises(UserError, match="nowhere: expected the folder"):
        load_model(tmp_path / "nowhere", "cpu")
    folder = make_model("m")
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-100])
    with pytest.raises(UserError, match="cannot be loaded"):
        load_model(folder, "cpu")
    weights.unlink()
    with pytest.raises(UserError, match="expected weights"):
        load_model(folder, "cpu")
    (folder / "config.json").unlink()
    with pytest.raises(UserError, match=r"config\.json"):
        load_model(folder, "cpu")


def test_a_missing_tensor_is_not_replaced_by_random_numbers(make_model):
    from safetensors.torch import load_file, save_file

    folder = make_model("m")
    tensors = load_file(folder / "model.safetensors")
    tensors.pop("model.layers.1.mlp.up_proj.weight")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"lack 1 tensors of the model, model.layers.1.mlp.up_proj.weight"):
        load_model(folder, "cpu")
