"""Train one phase in this process, as one of its ranks."""

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import fiddle

from recipes.blend import Blend, load_blend
from recipes.checkpoints import best_checkpoints, validation_loss
from recipes.cluster import Cluster
from recipes.engine.batch_guard import BatchGuard
from recipes.engine.build import pretraining
from recipes.engine.fence import Fence
from recipes.engine.hang_watch import HangWatch
from recipes.engine.observers import sampling, validation
from recipes.engine.phase_numbers import PhaseNumbers
from recipes.engine.platform import has_cuda
from recipes.engine.progress import Progress
from recipes.engine.start import Ranks, agree_on_start
from recipes.engine.strategy import phase_store
from recipes.engine.wandb_run import WandbRun
from recipes.engine.warm_start import WarmStart, expected_loss
from recipes.layout import RunFolder
from recipes.schema import Recipe


class Outside(NamedTuple):
    """What training asks of the packages above it.

    Attributes:
        say: prints a line for people; called on rank 0 only, or on the last if rank 0 has hung.
        tokenizer: gives the folder of tokenizer.json, for a recipe with samples; called on rank 0 only.
        attention_length: gives the tokens that attention reaches over in a phase that masks documents, None where that
            is not known; called on rank 0 only.
    """

    say: Callable[[str], None]
    tokenizer: Callable[[], Path]
    attention_length: Callable[[], float | None]


def train_phase(recipe: Recipe, cluster: Cluster, number: int, run: RunFolder, outside: Outside) -> None:
    """Train phase `number` from where it stands to its end. `recipes.engine.platform.prepare` must have run.

    Raises:
        RuntimeError: the cluster has GPUs and this process sees none, which every rank says for itself.
        UserError: what `find_start` and the data module refuse; the loaded model is not the base; a checkpoint cannot
            be written; the run was started again elsewhere.
    """
    if cluster.gpus_per_node and not has_cuda():
        raise RuntimeError(f"cluster {cluster.name} has GPUs, but CUDA finds none on {socket.gethostname()}")
    blend = load_blend(run, number)
    ranks = Ranks(phase_store(number), int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    with HangWatch(ranks, recipe.faults, outside.say) as watch:
        _train(recipe, cluster, number, run, outside, blend, ranks, watch)


def _train(
    recipe: Recipe,
    cluster: Cluster,
    number: int,
    run: RunFolder,
    outside: Outside,
    blend: Blend,
    ranks: Ranks,
    watch: HangWatch,
) -> None:
    say = outside.say
    start, attempt = agree_on_start(ranks, recipe, run, number, say)
    if start.iteration == blend.iterations:  # an earlier start was killed after its last checkpoint
        return ranks.leave()
    job = fiddle.build(pretraining(recipe, number, run, blend, start))
    checkpoint = job.keywords["log"].ckpt
    checkpoint.attempt, checkpoint.policy = attempt, recipe.checkpoint
    trainer = job.keywords["trainer"]
    trainer.strategy.phase, trainer.strategy.seed = number, recipe.seed
    # Added after NeMo's trainer has copied its arguments for the checkpoint's context: `say` may hold an open terminal.
    every = trainer.log_every_n_steps
    guard = BatchGuard(recipe.faults, say)
    masked = outside.attention_length() if ranks.rank == 0 and recipe.phase(number).document_masking else None
    numbers = PhaseNumbers.of(recipe, cluster, number, ranks.size, masked)
    progress = Progress(numbers, run.metrics, say, every, guard)
    callbacks: list[Any] = [watch.heart, Fence(attempt, every), guard, progress]
    if recipe.wandb:
        trainer.callbacks.append(WandbRun(recipe, recipe.wandb, run, cluster.offline, every, say))
    if start.path == run.base_checkpoint:
        loss = float(ranks.from_first("base_loss", lambda: repr(expected_loss(recipe, run))))
        callbacks.append(WarmStart(loss, recipe.precision, recipe.model.shape.vocab_size, start.path, say))
    checkpoint.validation = validation(recipe, number, run, blend.separator_id, progress)
    samples = sampling(recipe, number, run, blend.separator_id, progress, outside.tokenizer)
    callbacks += [observer for observer in (checkpoint.validation, samples) if observer]
    trainer.callbacks[:0] = callbacks  # before the checkpoint, which keeps what they found
    job()
    if ranks.rank == 0:
        _say_best(recipe, number, run, say)


def _say_best(recipe: Recipe, number: int, run: RunFolder, say: Callable[[str], None]) -> None:
    by = recipe.checkpoint.best_by
    best = best_checkpoints(run.checkpoints(number), by) if recipe.checkpoint.keep_best else []
    if best:
        loss, text = validation_loss(best[0], by), by or "all"
        say(f"phase {number}: {best[0]} has the lowest validation loss, {loss:.4f} on {text} held-out text")
