"""Our side of `gpu_step.py`: phase 1 of a recipe on one GPU, as training builds it, stopped before its checkpoint.

python engine_step.py '{"recipe": …, the options of gpu_step.py}' FOLDER
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.indexed import ShardWriter, token_dtype
from launch.environment import rank_environment
from recipes.artifacts import write_json
from recipes.blend import Blend, load_blend
from recipes.checkpoints import Start
from recipes.layout import RunFolder
from recipes.load import load_recipe
from recipes.schema import Recipe


def main() -> None:
    """Train until the clock has seen enough, then end this process where it stands."""
    asked, run = json.loads(sys.argv[1]), RunFolder(Path(sys.argv[2]))
    os.environ.update(rank_environment({}))
    from recipes.engine.platform import prepare

    prepare()
    import fiddle
    import lightning.pytorch as pl
    from step_clock import StepClock

    from recipes.engine.build import pretraining

    clock = StepClock(asked["warm_up"], asked["steps"], asked["profile"])

    class Watch(pl.Callback):
        def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
            clock.step_done()
            if clock.finished:
                clock.answer()
                os._exit(0)

    recipe = one_gpu(asked, clock.needed + 1)
    job = fiddle.build(pretraining(recipe, 1, run, random_data(run, recipe), Start(None)))
    job.keywords["trainer"].callbacks.append(Watch())
    job()


def one_gpu(asked: dict[str, Any], iterations: int) -> Recipe:
    """The recipe with its first phase alone, from random weights, on one rank."""
    recipe = load_recipe(asked["recipe"], asked["set"])
    batch = asked["micro_batch"] * asked["accumulation"]
    phase = recipe.phase(1).model_copy(
        update={
            "token_budget": iterations * batch * asked["sequence_length"],
            "sequence_length": asked["sequence_length"],
            "micro_batch_size": asked["micro_batch"],
            "global_batch_size": batch,
            "tensor_parallel": 1,
            "pipeline_parallel": 1,
            "context_parallel": 1,
            "packing": "concatenate",
            "document_masking": False,
            "recompute": asked["recompute"],
            "loss_chunk_tokens": asked["loss_chunk_tokens"],
        }
    )
    model = recipe.model.model_copy(update={"init": "random"})
    policy = recipe.checkpoint.model_copy(update={"every_iterations": iterations})
    return recipe.model_copy(update={"phases": [phase], "model": model, "checkpoint": policy})


def random_data(run: RunFolder, recipe: Recipe) -> Blend:
    """A mixture of random tokens, in documents of a sequence, for phase 1."""
    phase, vocabulary = recipe.phase(1), recipe.model.shape.vocab_size
    folder = run.phase(1)
    folder.mkdir(parents=True)
    lengths = np.full(phase.samples + 1, phase.sequence_length)  # one more than is read
    tokens = np.random.default_rng(recipe.seed).integers(0, vocabulary, lengths.sum(), dtype=token_dtype(vocabulary))
    with ShardWriter(folder / "random", token_dtype(vocabulary)) as writer:
        writer.append(tokens, lengths)
    blend = Blend(
        prefixes=["random"],
        sequence_length=phase.sequence_length,
        global_batch_size=phase.global_batch_size,
        iterations=phase.iterations,
        seed=recipe.seed,
        separator_id=0,
        vocab_size=vocabulary,
        digest="random",
    )
    write_json(folder / "blend.json", blend.model_dump())
    return load_blend(run, 1)


if __name__ == "__main__":
    main()
