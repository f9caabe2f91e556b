"""End to end with the real Qwen3 tokenizer: 151,936 ids, int32 shards, head_dim 128, a hidden size nobody uses."""

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from data_prep.bundled import tokenizer_folder
from data_prep.indexed import read_index
from recipes.checkpoints import final_checkpoint
from recipes.layout import RunFolder

pytestmark = pytest.mark.long
SHAPE = {
    "vocab_size": 151_936,
    "hidden_size": 88,
    "intermediate_size": 120,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 128,
    "tie_word_embeddings": True,
    "max_position_embeddings": 256,
}


def make_base(folder: Path, tokenizer: Path) -> None:
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(1)
    Qwen3ForCausalLM(Qwen3Config(**SHAPE, rope_theta=1e6)).save_pretrained(folder)
    for path in tokenizer.iterdir():
        shutil.copy(path, folder / path.name)


def make_recipe(path: Path, base: Path) -> Path:
    phase = {
        "name": "only",
        "token_budget": 6 * 2 * 128,
        "sequence_length": 128,
        "micro_batch_size": 1,
        "global_batch_size": 2,
        "mixture": {"legal": 0.5, "general": 0.5},
        "schedule": {"max_lr": 1e-2},
    }
    recipe = {
        "name": "real_vocabulary",
        "precision": "32",
        "model": {"init": "hf", "base": str(base), "shape": SHAPE},
        "tokenizer": {"path": "bundled:qwen3"},
        "phases": [phase],
        "checkpoint": {"every_iterations": 10},
        "evaluation": {"tokens_per_source": 256, "sequence_length": 128},
    }
    path.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    return path


def cpt(*arguments: object) -> str:
    command = [sys.executable, "-m", "launch.cli", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_from_text_to_a_model_with_the_real_vocabulary(tmp_path: Path) -> None:
    base, run = tmp_path / "base", RunFolder(tmp_path / "run")
    make_base(base, tokenizer_folder("bundled:qwen3", tmp_path / "tokenizer"))
    recipe = make_recipe(tmp_path / "recipe.yaml", base)
    cpt("data", "mix", "--recipe", recipe, "--run", run.root)
    index = read_index(run.shards / "laws" / "documents")
    assert index.dtype == np.int32
    assert json.loads((run.phase(1) / "blend.json").read_text())["separator_id"] == 151_643

    cpt("convert", "import", base, run.base_checkpoint, "--recipe", recipe)
    cpt("train", recipe, "--run", run.root)
    losses = [json.loads(line)["loss"] for line in run.metrics.read_text().splitlines()]
    assert losses[0] == pytest.approx(math.log(151_936), abs=0.2)
    assert losses[-1] < losses[0] - 0.5

    checkpoint = final_checkpoint(run, 1)
    assert checkpoint is not None
    cpt("convert", "export", checkpoint, run.exported(1), "--base", base)
    table = cpt("evaluate", recipe, f"base={base}", f"phase_1={run.exported(1)}", "--run", run.root, "--json")
    before, after = (result["domains"]["legal"]["perplexity"] for result in json.loads(table))
    assert after < before
    assert (run.exported(1) / "tokenizer.json").read_bytes() == (base / "tokenizer.json").read_bytes()
