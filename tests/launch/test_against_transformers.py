"""Training with NeMo from an imported model gives the curve of a plain transformers loop: weights, data order, loss,
gradients, schedule, clipping and optimizer agree. The vocabulary is padded and the embeddings are untied on purpose."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from tiny_run import ROOT, metrics, tiny_cluster, tiny_data, tiny_recipe, train
from transformers import Qwen3Config, Qwen3ForCausalLM

from convert.import_hf import import_hf
from recipes.layout import RunFolder
from recipes.load import load_recipe
from recipes.shape import Qwen3Shape


@pytest.mark.slow
def test_the_curve_is_that_of_a_plain_loop(tmp_path: Path) -> None:
    run, base = RunFolder(tmp_path / "run"), tmp_path / "base"
    tiny_data(run, phases=1)
    recipe = _recipe(tmp_path / "tiny.yaml", base)
    shape = load_recipe(str(recipe)).model.shape
    _random_model(base, shape)
    import_hf(base, run.base_checkpoint, shape)
    train(recipe, tiny_cluster(tmp_path / "two.yaml", 2), run, "1")
    plain = _plain_loop(base, run, recipe)
    assert [line["loss"] for line in metrics(run, 1)] == pytest.approx([loss for loss, _ in plain], rel=1e-4)
    assert [line["grad_norm"] for line in metrics(run, 1)] == pytest.approx([norm for _, norm in plain], rel=1e-3)


def _recipe(path: Path, base: Path) -> Path:
    recipe = yaml.safe_load(tiny_recipe(path, phases=1).read_text())
    recipe["model"] |= {"init": "hf", "base": str(base)}
    recipe["model"]["shape"] |= {"vocab_size": 300, "tie_word_embeddings": False}
    recipe["optimizer"] = {"weight_decay": 0.1}
    path.write_text(yaml.safe_dump(recipe))
    return path


def _random_model(folder: Path, shape: Qwen3Shape) -> None:
    torch.manual_seed(1)
    Qwen3ForCausalLM(Qwen3Config(**shape.model_dump(), eos_token_id=3, bos_token_id=3)).save_pretrained(folder)
    (folder / "tokenizer.json").write_text("{}")


def _plain_loop(base: Path, run: RunFolder, recipe: Path) -> list[tuple[float, float]]:
    script = Path(__file__).with_name("plain_loop.py")
    command = [sys.executable, str(script), str(base), str(run.root), str(recipe)]
    answer = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert answer.returncode == 0, answer.stderr
    (curve,) = json.loads(answer.stdout.splitlines()[-1])
    return [tuple(pair) for pair in curve]
