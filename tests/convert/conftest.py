"""Small Qwen3 folders with random weights, written by the safetensors library and not by this project."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from convert.hf_folder import HfFolder
from convert.mapping import Slot, hf_sizes, slots, to_megatron
from convert.nemo_writer import write_checkpoint
from recipes.shape import Qwen3Shape

Make = Callable[..., Path]


@pytest.fixture
def shape() -> Qwen3Shape:
    """Unusual on purpose: head_dim × heads is not the hidden size, grouped queries, untied."""
    return Qwen3Shape(
        vocab_size=300,
        hidden_size=40,
        intermediate_size=56,
        num_hidden_layers=3,
        num_attention_heads=6,
        num_key_value_heads=2,
        head_dim=24,
        tie_word_embeddings=False,
        max_position_embeddings=64,
    )


@pytest.fixture
def make_model(tmp_path: Path, shape: Qwen3Shape) -> Make:
    """make_model(shape, dtype, shards, change) -> folder; `change` edits the tensors before they are written."""

    def make(
        shape: Qwen3Shape = shape,
        dtype: torch.dtype = torch.float32,
        shards: int = 1,
        change: Callable[[dict[str, torch.Tensor]], None] = lambda tensors: None,
    ) -> Path:
        folder = tmp_path / "model"
        folder.mkdir()
        torch.manual_seed(0)
        tensors = {name: torch.randn(size).to(dtype) for name, size in hf_sizes(shape).items()}
        change(tensors)
        _write_tensors(folder, tensors, shards)
        config = {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", **shape.model_dump(), "eos_token_id": 1}
        (folder / "config.json").write_text(json.dumps(config))
        (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [1, 2], "temperature": 0.6}))
        (folder / "tokenizer.json").write_text('{"added_tokens": [{"id": 7, "content": "<|endoftext|>"}]}\n')
        (folder / "tokenizer_config.json").write_text('{"eos_token": "<|endoftext|>",   "pad_token": null}')
        return folder

    return make


@pytest.fixture
def of_two_dtypes(tmp_path: Path) -> Callable[[Path], Path]:
    """of_two_dtypes(model) -> a NeMo checkpoint of it with its matrices in bf16 and its norms in fp32."""

    def make(model: Path) -> Path:
        source, folder = HfFolder(model), tmp_path / "two_dtypes"
        folder.mkdir()
        write_checkpoint(folder, _rounded_matrices(source), source.shape.num_hidden_layers)
        return folder

    return make


def _rounded_matrices(source: HfFolder) -> Iterator[tuple[Slot, torch.Tensor]]:
    for slot in slots(source.shape):
        tensor = to_megatron(slot, list(source.parts(slot).values()), source.shape, source.shape.vocab_size)
        yield slot, tensor.bfloat16() if tensor.dim() > 1 else tensor


def _write_tensors(folder: Path, tensors: dict[str, torch.Tensor], shards: int) -> None:
    if shards == 1:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        return
    weight_map = {}
    for number in range(shards):
        file = f"model-{number + 1:05}-of-{shards:05}.safetensors"
        part = dict(list(tensors.items())[number::shards])
        save_file(part, folder / file, metadata={"format": "pt"})
        weight_map.update(dict.fromkeys(part, file))
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
