import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from huggingface_hub import split_torch_state_dict_into_shards
from safetensors.torch import load_file

from convert.hf_folder import HfFolder
from convert.hf_writer import config_for, copy_tokenizer, special_tokens, write_weights
from convert.mapping import hf_sizes
from recipes.artifacts import read_json
from recipes.errors import UserError
from recipes.shape import Qwen3Shape

Make = Callable[..., Path]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("limit", [10**9, 50_000])
def test_files_and_index_are_those_of_the_hub_library(
    tmp_path: Path, shape: Qwen3Shape, dtype: torch.dtype, limit: int
) -> None:
    sizes = hf_sizes(shape)
    tensors = {name: torch.randn(size).to(dtype) for name, size in sizes.items()}
    write_weights(tmp_path, tensors.items(), sizes, dtype, limit)
    expected = split_torch_state_dict_into_shards(
        tensors, max_shard_size=limit, filename_pattern="model{suffix}.safetensors"
    )
    assert {path.name for path in tmp_path.glob("*.safetensors")} == set(expected.filename_to_tensors)
    if expected.is_sharded:
        assert read_json(tmp_path / "model.safetensors.index.json")["weight_map"] == expected.tensor_to_filename
    for file, names in expected.filename_to_tensors.items():
        loaded = load_file(tmp_path / file)
        assert loaded.keys() == set(names)
        assert all(torch.equal(loaded[name], tensors[name]) for name in names)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("limit", ["1GB", "60KB"])
def test_files_are_byte_by_byte_those_of_save_pretrained(
    tmp_path: Path, shape: Qwen3Shape, tied: bool, limit: str
) -> None:
    from transformers import Qwen3Config, Qwen3ForCausalLM

    shape = shape.model_copy(update={"tie_word_embeddings": tied})
    model = Qwen3ForCausalLM(Qwen3Config(**shape.model_dump())).bfloat16()
    model.save_pretrained(tmp_path / "theirs", max_shard_size=limit)
    source = HfFolder(tmp_path / "theirs")
    (tmp_path / "ours").mkdir()
    tensors = ((name, source.tensor(name)) for name in source.sizes)
    size = {"1GB": 10**9, "60KB": 60_000}[limit]
    write_weights(tmp_path / "ours", tensors, source.sizes, torch.bfloat16, size)
    written = sorted(path.name for path in (tmp_path / "ours").iterdir())
    assert written == sorted(path.name for path in (tmp_path / "theirs").glob("*.safetensors*"))
    for name in (name for name in written if name.endswith("safetensors")):
        assert (tmp_path / "ours" / name).read_bytes() == (tmp_path / "theirs" / name).read_bytes()
    if limit != "1GB":
        index = "model.safetensors.index.json"
        assert read_json(tmp_path / "ours" / index) == read_json(tmp_path / "theirs" / index)


def test_config_keeps_the_base_and_states_the_dtype(shape: Qwen3Shape) -> None:
    base = {"model_type": "qwen3", "dtype": "float32", "something": 1}
    assert config_for(shape, base, torch.bfloat16, {}) == {
        "transformers_version": "4.51.0",
        "model_type": "qwen3",
        "something": 1,
        "rope_theta": 1_000_000.0,
        "torch_dtype": "bfloat16",
    }
    assert config_for(shape, {"transformers_version": "4.52.3"}, torch.float32, {})["transformers_version"] == "4.52.3"
    fresh = config_for(shape, None, torch.float32, {"eos_token_id": 7})
    assert (fresh["model_type"], fresh["eos_token_id"], fresh["head_dim"]) == ("qwen3", 7, 24)
    assert Qwen3Shape.from_hf(fresh) == shape


def test_tokenizer_is_copied_byte_by_byte(make_model: Make, tmp_path: Path) -> None:
    source, target = make_model(), tmp_path / "target"
    target.mkdir()
    copy_tokenizer(source, target)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (target / name).read_bytes() == (source / name).read_bytes()
    assert special_tokens(source, 8) == {"eos_token_id": 7}
    with pytest.raises(UserError, match=r"no tokenizer\.json"):
        copy_tokenizer(tmp_path / "elsewhere", target)


@pytest.mark.parametrize(
    "added",
    [[{"content": ["<|endoftext|>"], "id": 7}], [{"content": "<|endoftext|>", "id": "7"}], ["<|endoftext|>"], 7],
)
def test_a_damaged_list_of_added_tokens_names_none(make_model: Make, added: object) -> None:
    source = make_model()
    (source / "tokenizer.json").write_text(json.dumps({"added_tokens": added}))
    assert special_tokens(source, 8) == {}


def test_what_is_written_reads_as_a_model_folder(make_model: Make, tmp_path: Path) -> None:
    source = HfFolder(make_model(dtype=torch.bfloat16))
    copy = tmp_path / "copy"
    copy.mkdir()
    write_weights(copy, ((name, source.tensor(name)) for name in source.sizes), source.sizes, source.dtype)
    (copy / "config.json").write_bytes((source.root / "config.json").read_bytes())
    assert all(torch.equal(HfFolder(copy).tensor(name), source.tensor(name)) for name in source.sizes)
