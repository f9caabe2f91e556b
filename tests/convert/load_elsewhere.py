"""Run by test_loads_elsewhere.py with `python -I`: load folders and print what was found in each, as one JSON list."""

import contextlib
import hashlib
import io
import json
import os
import re
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

PROMPT = "Madde 1 – Bu Kanun"
OURS = {"recipes", "data_prep", "convert", "launch", "evaluation", "nemo", "nemo_run", "megatron", "lightning"}


class Absent:
    """As if this project and NeMo were not installed."""

    def find_spec(self, name: str, *_: Any) -> ModuleSpec | None:
        if name.partition(".")[0] in OURS:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None


sys.meta_path.insert(0, Absent())

import torch  # noqa: E402
from transformers import AutoModelForCausalLM, AutoTokenizer, pipeline  # noqa: E402


def load(folder: str) -> dict[str, Any]:
    """Stand in the folder, as the model card does."""
    os.chdir(folder)
    print("--- next folder", file=sys.stderr, flush=True)
    model, info = AutoModelForCausalLM.from_pretrained(".", dtype="auto", output_loading_info=True)
    tokenizer = AutoTokenizer.from_pretrained(".")
    head = model.lm_head.weight.detach()
    ids = tokenizer(PROMPT).input_ids
    return {
        "differing_keys": sorted(str(key) for kind in info.values() for key in kind),
        "dtype": str(model.dtype),
        "tied": head.data_ptr() == model.model.embed_tokens.weight.data_ptr(),
        "head": hashlib.sha256(head.contiguous().view(torch.uint8).numpy().tobytes()).hexdigest(),
        "ends": model.generation_config.eos_token_id,
        "prompt": PROMPT,
        "tokens_back": tokenizer.decode(ids),
        "vocabulary": len(tokenizer),
        "text": pipeline("text-generation", model=".")(PROMPT, max_new_tokens=4)[0]["generated_text"],
        "card": snippet(Path("README.md")),
    }


def snippet(readme: Path) -> str:
    """What the Python of the model card prints."""
    found = re.search(r"```python\n(.*?)```", readme.read_text(encoding="utf-8"), re.DOTALL)
    assert found
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(found[1], {})
    return printed.getvalue()


print(json.dumps([load(folder) for folder in sys.argv[1:]]))
