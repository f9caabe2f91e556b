"""A tokenizer of 300 tokens and a Qwen3 model of a few thousand weights, made in the test."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evaluation.heldout import Document

SEPARATOR = "<|endoftext|>"
LEGAL = "Madde {n} - Bu Kanunun amacı, kişilerin hak ve yükümlülüklerini {n} sayılı kararla düzenlemektir. "
GENERAL = "Göl kıyısında {n} kuş gördük; hava güzeldi ve yol uzundu. "


def sample_documents() -> list[Document]:
    documents = [Document("".join(LEGAL.format(n=7 * i + j) for j in range(1 + i)), "laws", "legal") for i in range(6)]
    documents += [
        Document("".join(GENERAL.format(n=5 * i + j) for j in range(1 + i)), "wiki", "general") for i in range(5)
    ]
    return [*documents, Document("İlâm: " + LEGAL.format(n=1), "decisions", "legal")]


@pytest.fixture(scope="session")
def documents() -> list[Document]:
    return sample_documents()


@pytest.fixture
def heldout(tmp_path: Path, documents: list[Document]) -> Path:
    folder = tmp_path / "heldout"
    folder.mkdir()
    for document in documents:
        line = json.dumps(
            {"text": document.text, "source": document.source, "domain": document.domain}, ensure_ascii=False
        )
        with (folder / f"{document.source}.jsonl").open("a", encoding="utf-8") as stream:
            stream.write(line + "\n")
    return folder


@pytest.fixture(scope="session")
def tokenizer_json(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=[SEPARATOR], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([document.text for document in sample_documents()], trainer)
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    tokenizer.save(str(path))
    return path


@pytest.fixture
def make_model(tmp_path: Path, tokenizer_json: Path) -> Callable[..., Path]:
    """Write a small random Qwen3 folder; `edit(model)` may change its weights first."""

    def make(name: str, edit: Callable[[Any], None] = lambda model: None, vocab_size: int = 320, seed: int = 0) -> Path:
        import torch
        from transformers import Qwen3Config, Qwen3ForCausalLM

        torch.manual_seed(seed)
        config = Qwen3Config(
            vocab_size=vocab_size,
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=12,
            max_position_embeddings=64,
            initializer_range=0.3,
            tie_word_embeddings=True,
        )
        model = Qwen3ForCausalLM(config)
        edit(model)
        model.save_pretrained(tmp_path / name)
        (tmp_path / name / "tokenizer.json").write_bytes(tokenizer_json.read_bytes())
        return tmp_path / name

    return make
