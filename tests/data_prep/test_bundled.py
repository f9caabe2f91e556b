"""Bundled tokenizers are found and unpacked; everything else is a sentence."""

import hashlib
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from data_prep.bundled import tokenizer_folder
from recipes.errors import UserError


def test_qwen3_is_unpacked_once_and_is_the_official_file(tmp_path: Path) -> None:
    folder = tokenizer_folder("bundled:qwen3", tmp_path / "tokenizer")
    content = (folder / "tokenizer.json").read_bytes()
    assert hashlib.sha256(content).hexdigest() == "aeb13307a71acd8fe81861d94ad54ab689df773318809eed3cbe794b4492dae4"
    before = (folder / "tokenizer.json").stat().st_ino
    assert tokenizer_folder("bundled:qwen3", tmp_path / "tokenizer") == folder
    assert (folder / "tokenizer.json").stat().st_ino == before
    assert (folder / "tokenizer_config.json").is_file()


def test_bpe8k_has_8192_ids_and_qwen3s_way_of_cutting_text(tmp_path: Path) -> None:
    small = Tokenizer.from_file(str(tokenizer_folder("bundled:bpe8k", tmp_path) / "tokenizer.json"))
    large = Tokenizer.from_file(str(tokenizer_folder("bundled:qwen3", tmp_path) / "tokenizer.json"))
    assert small.get_vocab_size(with_added_tokens=True) == 8_192
    assert sorted(small.get_vocab().values()) == list(range(8_192))
    assert [small.token_to_id(token) for token in ("<|endoftext|>", "<|im_start|>", "<|im_end|>")] == [8189, 8190, 8191]
    for part in ("normalizer", "pre_tokenizer", "decoder"):
        assert getattr(small, part).__getstate__() == getattr(large, part).__getstate__()


@pytest.mark.slow  # importing transformers takes seconds
@pytest.mark.parametrize(("name", "eos", "size"), [("bpe8k", 8189, 8192), ("qwen3", 151645, 151669)])
def test_transformers_loads_it(tmp_path: Path, name: str, eos: int, size: int) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder(f"bundled:{name}", tmp_path))
    assert (tokenizer.eos_token_id, len(tokenizer)) == (eos, size)
    assert tokenizer.convert_ids_to_tokens(tokenizer.pad_token_id) == "<|endoftext|>"
    text = "Madde 1 – Bu Kanun'un amacı, işçi ve işverenlerin hak ve sorumluluklarını düzenlemektir.\n\n\t(2) 法律 🙂"
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text


def test_a_users_folder_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    assert tokenizer_folder(str(tmp_path), tmp_path / "cache") == tmp_path


@pytest.mark.parametrize("path", ["bundled:qwen9", "bundled:", "bundled:../sample", "models/none"])
def test_what_is_not_there_is_a_sentence(tmp_path: Path, path: str) -> None:
    with pytest.raises(UserError, match=r"bundled:bpe8k, bundled:qwen3"):
        tokenizer_folder(path, tmp_path)
