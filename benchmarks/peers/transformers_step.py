"""`transformers` with SDPA, torch.compile, fused AdamW and gradient clipping: the loop that one writes first.

python transformers_step.py '{"recipe": …, the options of gpu_step.py}' FOLDER
"""

import contextlib
import json
import sys
from pathlib import Path

import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from step_clock import StepClock

from recipes.load import load_recipe


def main() -> None:
    """Train until the clock has seen enough."""
    asked = json.loads(sys.argv[1])
    recipe = load_recipe(asked["recipe"], asked["set"])
    device = "cuda" if torch.cuda.is_available() else "cpu"
    config = Qwen3Config(**recipe.model.shape.model_dump(), attn_implementation="sdpa", use_cache=False)
    config.dtype = torch.bfloat16 if asked["all_bf16"] else torch.float32
    with torch.device(device):
        model = Qwen3ForCausalLM._from_config(config, dtype=config.dtype).train()
    if asked["recompute"] == "full":
        model.gradient_checkpointing_enable()
    forward = model if asked["no_compile"] else torch.compile(model)
    adam = recipe.optimizer
    betas = (adam.adam_beta1, adam.adam_beta2)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=1e-5, betas=betas, eps=adam.adam_eps, weight_decay=adam.weight_decay, fused=True
    )
    mixed = recipe.precision == "bf16-mixed" and not asked["all_bf16"]
    autocast = torch.autocast(device, torch.bfloat16) if mixed else contextlib.nullcontext()
    size = (asked["micro_batch"], asked["sequence_length"])
    clock = StepClock(asked["warm_up"], asked["steps"], asked["profile"])
    while not clock.finished:
        for _ in range(asked["accumulation"]):
            tokens = torch.randint(recipe.model.shape.vocab_size, size).to(device, non_blocking=True)
            with autocast:
                loss = forward(input_ids=tokens, labels=tokens).loss / asked["accumulation"]
            loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), adam.clip_grad)
        optimizer.step()
        optimizer.zero_grad()
        clock.step_done()
    clock.answer()


if __name__ == "__main__":
    main()
