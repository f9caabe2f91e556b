import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from convert.hf_folder import HfFolder
from recipes.errors import UserError
from recipes.shape import Qwen3Shape

Make = Callable[..., Path]


def edit_config(folder: Path, **fields: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **fields}))


def read_all(folder: Path) -> None:
    source = HfFolder(folder)
    assert source.dtype
    for name in source.sizes:
        source.tensor(name)


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_reads_single_and_sharded_in_every_dtype(
    make_model: Make, shape: Qwen3Shape, shards: int, dtype: torch.dtype
) -> None:
    source = HfFolder(make_model(dtype=dtype, shards=shards))
    assert (source.shape, source.dtype) == (shape, dtype)
    torch.manual_seed(0)
    for name, size in source.sizes.items():
        assert torch.equal(source.tensor(name), torch.randn(size).to(dtype))


def test_an_equal_head_beside_tied_embeddings_is_accepted(make_model: Make, shape: Qwen3Shape) -> None:
    def add_head(tensors: dict[str, torch.Tensor]) -> None:
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()

    source = HfFolder(make_model(shape.model_copy(update={"tie_word_embeddings": True}), change=add_head))
    assert "lm_head.weight" not in source.sizes


def test_a_zero_head_beside_tied_embeddings_is_refused(make_model: Make, shape: Qwen3Shape) -> None:
    def add_head(tensors: dict[str, torch.Tensor]) -> None:
        tensors["lm_head.weight"] = torch.zeros(300, 40)

    folder = make_model(shape.model_copy(update={"tie_word_embeddings": True}), change=add_head)
    with pytest.raises(UserError, match=r"ties the embeddings, but lm_head\.weight differs"):
        HfFolder(folder)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("lm_head.weight", torch.zeros(300, 40), "lm_head.weight is all zero"),
        ("model.norm.weight", torch.full((40,), torch.nan), "model.norm.weight holds NaN"),
        ("model.norm.weight", torch.ones(41), r"model.norm.weight is \[41\], config.json asks for \[40\]"),
        ("model.norm.weight", torch.ones(40).half(), "expected one dtype of"),
        ("model.layers.0.self_attn.q_proj.bias", torch.ones(144), "a dense Qwen3 has no tensor"),
        ("model.norm.weight", None, "model.norm.weight, which config.json asks for, is absent"),
    ],
)
def test_unusable_tensors_are_named(make_model: Make, name: str, value: torch.Tensor | None, said: str) -> None:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        tensors.pop(name, None)
        tensors.update({} if value is None else {name: value})

    with pytest.raises(UserError, match=said):
        read_all(make_model(change=change))


def test_what_loaders_would_read_differently_is_refused(make_model: Make) -> None:
    folder = make_model(shards=2)
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    shard = index["weight_map"].pop("lm_head.weight")
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(UserError, match=rf"{shard}: lm_head.weight is in it, but not in"):
        HfFolder(folder)
    save_file({"model.norm.weight": torch.ones(40)}, folder / "model.safetensors")
    with pytest.raises(UserError, match="loaders differ in which they take"):
        HfFolder(folder)


def test_pickled_weights_need_to_be_allowed(make_model: Make, shape: Qwen3Shape) -> None:
    folder = make_model(shards=2, dtype=torch.bfloat16)
    expected = {name: HfFolder(folder).tensor(name).clone() for name in HfFolder(folder).sizes}
    for number, path in enumerate(sorted(folder.glob("*.safetensors")), 1):
        torch.save(load_file(path), folder / f"pytorch_model-{number:05}-of-00002.bin")
        path.unlink()
    index = folder / "model.safetensors.index.json"
    renamed = index.read_text().replace("model-", "pytorch_model-").replace(".safetensors", ".bin")
    (folder / "pytorch_model.bin.index.json").write_text(renamed)
    index.unlink()
    with pytest.raises(UserError, match="--allow-pickle"):
        HfFolder(folder)
    source = HfFolder(folder, allow_pickle=True)
    assert source.dtype == torch.bfloat16
    assert all(torch.equal(source.tensor(name), tensor) for name, tensor in expected.items())


def test_pickled_weights_run_nothing(make_model: Make, tmp_path: Path) -> None:
    class Malicious:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (tmp_path / "ran",)

    folder = make_model()
    (folder / "model.safetensors").unlink()
    for content in ({"model.norm.weight": Malicious()}, {"model.norm.weight": 1}, [1]):
        torch.save(content, folder / "pytorch_model.bin")
        with pytest.raises(UserError, match=r"refused|expected tensors by name|expected dict"):
            HfFolder(folder, allow_pickle=True)
    assert not (tmp_path / "ran").exists()


def test_missing_folder_config_and_weights(make_model: Make, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such model folder"):
        HfFolder(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"config\.json: the file does not exist"):
        HfFolder(tmp_path)
    folder = make_model()
    weights = (folder / "model.safetensors").rename(tmp_path / "away")
    with pytest.raises(UserError, match="there are no weights"):
        HfFolder(folder)
    (folder / "pytorch_model.bin").touch()
    with pytest.raises(UserError, match="only pickled weights"):
        HfFolder(folder)
    weights.rename(folder / "model-00001-of-00002.safetensors")
    with pytest.raises(UserError, match=r"no model\.safetensors\.index\.json"):
        HfFolder(folder)


def test_missing_shard_and_lying_index(make_model: Make) -> None:
    folder = make_model(shards=2)
    second = folder / "model-00002-of-00002.safetensors"
    content = second.read_bytes()
    second.unlink()
    with pytest.raises(UserError, match=r"00002\.safetensors: the shard is missing"):
        HfFolder(folder)
    second.write_bytes((folder / "model-00001-of-00002.safetensors").read_bytes())
    with pytest.raises(UserError, match=r"is in model-00001-of-00002\.safetensors and in model-00002"):
        HfFolder(folder)
    save_file({"other": torch.ones(40)}, second)
    with pytest.raises(UserError, match="is in it, but it is not"):
        HfFolder(folder)
    second.write_bytes(content[:-100])
    with pytest.raises(UserError, match="not a whole safetensors file"):
        HfFolder(folder)
    (folder / "model.safetensors.index.json").write_text("[]")
    with pytest.raises(UserError, match="expected a `weight_map`"):
        HfFolder(folder)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"model_type": "llama"}, "expected model_type qwen3, found 'llama'"),
        ({"model_type": "qwen3_moe"}, "only dense Qwen3"),
        ({"head_dim": "wide"}, "head_dim"),
        ({"attention_bias": True}, "attention_bias"),
        ({"num_key_value_heads": 4}, "must be a multiple"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, "rope scaling is not supported"),
        ({"use_sliding_window": True}, "use_sliding_window is not supported"),
        ({"rope_theta": None}, "rope_theta"),
    ],
)
def test_configs_that_are_not_dense_qwen3(make_model: Make, fields: dict[str, object], said: str) -> None:
    folder = make_model()
    edit_config(folder, **fields)
    with pytest.raises(UserError, match=said):
        HfFolder(folder)
