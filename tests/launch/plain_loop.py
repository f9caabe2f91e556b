"""Trains phase 1 of runs with plain transformers and torch, on the samples of the data module.

    python plain_loop.py HF_FOLDER RUN RECIPE [HF_FOLDER RUN RECIPE …]

Prints JSON: of every model, for every step, loss and gradient norm. A program of its own, because the CPU compatibility
layer changes the torch of the process it is switched on in.
"""

import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from transformers import Qwen3ForCausalLM

from recipes.blend import load_blend
from recipes.engine.platform import prepare
from recipes.layout import RunFolder
from recipes.load import load_recipe
from recipes.schema import Phase, Recipe


def curve(hf_folder: Path, run: RunFolder, recipe: Recipe) -> list[tuple[float, float]]:
    model = Qwen3ForCausalLM.from_pretrained(hf_folder, dtype=torch.float32).train()
    decayed = [weight for weight in model.parameters() if weight.dim() > 1]
    others = [weight for weight in model.parameters() if weight.dim() == 1]
    adam = recipe.optimizer
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": adam.weight_decay}, {"params": others, "weight_decay": 0.0}],
        betas=(adam.adam_beta1, adam.adam_beta2),
        eps=adam.adam_eps,
    )
    pairs = []
    for iteration, batch in enumerate(_batches(run)):
        for group in optimizer.param_groups:
            group["lr"] = _rate(recipe.phase(1), iteration)
        logits = model(input_ids=batch[:, :-1]).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), adam.clip_grad)
        optimizer.step()
        pairs.append((loss.item(), norm.item()))
    return pairs


def _batches(run: RunFolder) -> Iterator[torch.Tensor]:
    """Global batches [sequences, sequence_length + 1] in the order of training."""
    from recipes.engine.data_module import PhaseData

    blend = load_blend(run, 1)
    data = PhaseData(run.phase(1), blend, micro_batch_size=1)
    data.setup()
    read = (data.dataset[number] for number in range(blend.samples))
    samples = [torch.cat([one["tokens"], one["labels"][-1:]]) for one in read]
    yield from torch.stack(samples).split(blend.global_batch_size)


def _rate(phase: Phase, iteration: int) -> float:
    """Linear warmup, then cosine; counted as NeMo's CosineAnnealing does."""
    low, high, warmup = phase.schedule.min_lr, phase.schedule.max_lr, phase.warmup_iterations
    if warmup and iteration <= warmup:
        return high * (iteration + 1) / (warmup + 1)
    done = (iteration - warmup) / (phase.iterations - warmup)
    return low + (high - low) * 0.5 * (1 + math.cos(math.pi * done))


def main(arguments: list[str]) -> None:
    prepare()
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    models = zip(*(arguments[first::3] for first in range(3)), strict=True)
    print(json.dumps([curve(Path(hf), RunFolder(Path(run)), load_recipe(recipe)) for hf, run, recipe in models]))


if __name__ == "__main__":
    main(sys.argv[1:])
