"""An exported folder is loaded where neither this project nor NeMo can be imported, by two versions of transformers."""

import hashlib
import json
import os
import re
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from convert.export_hf import Surroundings, export_hf, from_base
from convert.import_hf import import_hf
from convert.mapping import hf_sizes
from data_prep.bundled import tokenizer_folder
from recipes.artifacts import read_json
from recipes.shape import Qwen3Shape

pytestmark = pytest.mark.slow
PROBE = Path(__file__).with_name("load_elsewhere.py")
VOCABULARY = {"bpe8k": 8192, "qwen3": 151936}
END, GENERATION_ENDS = 151645, [151645, 151643]  # <|im_end|>, and <|endoftext|>: as in Qwen3's own files
# What loading says when all is well.
CHATTER = re.compile(r"Device set to use cpu|Loading weights: .*|")
SEPARATOR = "--- next folder\n"  # on standard error


@dataclass(frozen=True)
class Model:
    """A small model with random weights: tied embeddings in bf16 with a base, a head of its own in fp32 without."""

    tokenizer: str
    base: bool

    def export(self, root: Path) -> Path:
        tokenizer = tokenizer_folder(f"bundled:{self.tokenizer}", root / "tokenizer")
        shape = Qwen3Shape(
            vocab_size=VOCABULARY[self.tokenizer],
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=6,
            num_key_value_heads=2,
            head_dim=8,
            tie_word_embeddings=self.base,
            max_position_embeddings=256,
        )
        base = _base(root / "base", shape, torch.bfloat16 if self.base else torch.float32, tokenizer)
        import_hf(base, root / "nemo")
        export_hf(root / "nemo", root / "hf", from_base(base) if self.base else Surroundings(shape, tokenizer))
        return root / "hf"


MODELS = {
    "with_base": Model("qwen3", base=True),
    "small_tokenizer": Model("bpe8k", base=False),
    "without_base": Model("qwen3", base=False),
}


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: model.export(tmp_path_factory.mktemp(name)) for name, model in MODELS.items()}


def _base(folder: Path, shape: Qwen3Shape, dtype: torch.dtype, tokenizer: Path) -> Path:
    folder.mkdir()
    torch.manual_seed(0)
    weights = {name: (torch.randn(size) / 8 + ("norm" in name)).to(dtype) for name, size in hf_sizes(shape).items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config = {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", **shape.model_dump()}
    config |= {"eos_token_id": END, "transformers_version": "4.51.0"}
    (folder / "config.json").write_text(json.dumps(config))
    generation = {"do_sample": True, "eos_token_id": GENERATION_ENDS, "pad_token_id": 151643, "temperature": 0.6}
    (folder / "generation_config.json").write_text(json.dumps(generation))
    for path in tokenizer.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


@pytest.fixture(scope="module", params=["installed", pytest.param("newest", marks=pytest.mark.long)])
def python(request: pytest.FixtureRequest) -> Path:
    """An interpreter with the installed transformers, or with the newest over the packages that are installed."""
    if request.param == "installed":
        return Path(sys.executable)
    folder = request.config.cache.mkdir("newest_transformers")
    interpreter = folder / "bin" / "python"
    if not interpreter.exists():
        venv.create(folder, with_pip=True, clear=True)
    above = sysconfig.get_path("purelib", vars={"base": str(folder)})
    Path(above, "installed.pth").write_text(sysconfig.get_path("purelib") + "\n")  # torch is not downloaded again
    command = [interpreter, "-m", "pip", "install", "--quiet", "--upgrade", "transformers>=5"]
    installed = subprocess.run(command, capture_output=True, text=True, timeout=600)
    if installed.returncode:
        pytest.skip(f"the newest transformers cannot be installed: {installed.stderr.strip().splitlines()[-1]}")
    return interpreter


@pytest.fixture(scope="module")
def found(python: Path, exports: dict[str, Path]) -> tuple[dict[str, Any], dict[str, str]]:
    """By export: what was found in it, and what loading said on standard error."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    command = [python, "-I", PROBE, *exports.values()]
    done = subprocess.run(
        command, cwd="/", env=environment | {"HF_HUB_OFFLINE": "1"}, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    _, *said = done.stderr.split(SEPARATOR)
    return dict(zip(exports, json.loads(done.stdout.splitlines()[-1]), strict=True)), dict(
        zip(exports, said, strict=True)
    )


@pytest.mark.parametrize("name", MODELS)
def test_it_loads_whole_and_gives_text(
    name: str, exports: dict[str, Path], found: tuple[dict[str, Any], dict[str, str]]
) -> None:
    folder, loaded = exports[name], found[0][name]
    config = read_json(folder / "config.json")
    assert loaded["differing_keys"] == []
    assert loaded["dtype"] == ("torch.bfloat16" if MODELS[name].base else "torch.float32")
    assert loaded["tied"] is config["tie_word_embeddings"] is MODELS[name].base
    head = load_file(folder / "model.safetensors")["model.embed_tokens.weight" if loaded["tied"] else "lm_head.weight"]
    assert loaded["head"] == hashlib.sha256(head.view(torch.uint8).numpy().tobytes()).hexdigest()
    assert loaded["ends"] == (GENERATION_ENDS if MODELS[name].base else config["eos_token_id"])
    assert loaded["tokens_back"] == loaded["prompt"]
    assert loaded["text"].startswith(loaded["prompt"]) and loaded["text"] != loaded["prompt"]
    assert loaded["vocabulary"] <= config["vocab_size"]
    assert loaded["card"].startswith("The beginning of a text")  # the model card's own lines, run as they stand


@pytest.mark.parametrize("name", MODELS)
def test_it_loads_in_silence(name: str, found: tuple[dict[str, Any], dict[str, str]]) -> None:
    lines = re.split(r"[\r\n]+", found[1][name])
    assert [line for line in lines if not CHATTER.fullmatch(line.strip())] == []
