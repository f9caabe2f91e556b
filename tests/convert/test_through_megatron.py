"""The same logits from Megatron-Core and transformers, and the same bits after a round trip through NeMo's own IO."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from convert.export_hf import export_hf, from_base
from convert.import_hf import import_hf
from recipes.shape import Qwen3Shape

SCRIPT = Path(__file__).with_name("through_megatron.py")
SHAPES: dict[str, dict[str, object]] = {
    "tied": {"head_dim": 24, "tie_word_embeddings": True, "rope_theta": 10_000.0, "rms_norm_eps": 1e-5},
    "untied": {"head_dim": 128, "num_attention_heads": 4, "num_key_value_heads": 4},
    "one_group": {"head_dim": 16, "num_attention_heads": 5, "num_key_value_heads": 1},
}

pytestmark = pytest.mark.slow


@pytest.fixture
def imported(make_model: Callable[..., Path], tmp_path: Path, shape: Qwen3Shape) -> Callable[..., Path]:
    """imported(name, **fields of the shape) -> folder with model/ and imported/."""

    def trained(tensors: dict[str, torch.Tensor]) -> None:
        """Weights of a size at which logits are of order 1 to 10."""
        for tensor in tensors.values():
            tensor.mul_(0.2) if tensor.dim() > 1 else tensor.abs_()

    def make(name: str, **fields: object) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        make_model(shape.model_copy(update=fields), change=trained).rename(folder / "model")
        import_hf(folder / "model", folder / "imported")
        torch.save(torch.randint(0, shape.vocab_size, (2, 32)), folder / "prompt.pt")
        return folder

    return make


def run_megatron(tensor_parallel: int, pipeline_parallel: int, *folders: Path) -> None:
    ranks = str(tensor_parallel * pipeline_parallel)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", ranks]
    command = [*torchrun, str(SCRIPT), str(tensor_parallel), str(pipeline_parallel), *map(str, folders)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    found = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)
    assert found.returncode == 0, found.stderr


def refuse_difference(folder: Path) -> None:
    manifest = export_hf(folder / "trained", folder / "out", from_base(folder / "model"))
    before, after = (folder / name / "model.safetensors" for name in ("model", "out"))
    assert before.stat().st_size == pytest.approx(after.stat().st_size, abs=1000)
    assert import_hf(folder / "out", folder / "again")["digest"] == manifest["digest"]
    assert import_hf(folder / "model", folder / "imported", replace=True)["digest"] == manifest["digest"]
    assert manifest["iteration"] == 5


def test_logits_and_bits(imported: Callable[..., Path]) -> None:
    from transformers import AutoModelForCausalLM

    folders = [imported(name, **fields) for name, fields in SHAPES.items()]
    run_megatron(1, 1, *folders)
    for folder in folders:
        refuse_difference(folder)
        model = AutoModelForCausalLM.from_pretrained(folder / "out", local_files_only=True)
        with torch.no_grad():
            expected = model(torch.load(folder / "prompt.pt")).logits
        found = torch.load(folder / "logits.pt")
        assert found.std() > 0.5
        assert (found - expected).abs().max() <= 1e-4


@pytest.mark.parametrize(("tensor_parallel", "pipeline_parallel"), [(2, 1), pytest.param(1, 2, marks=pytest.mark.long)])
def test_bits_from_other_layouts(imported: Callable[..., Path], tensor_parallel: int, pipeline_parallel: int) -> None:
    folders = [imported(name, num_hidden_layers=4, tie_word_embeddings=name == "tied") for name in ("tied", "untied")]
    run_megatron(tensor_parallel, pipeline_parallel, *folders)
    for folder in folders:
        refuse_difference(folder)
