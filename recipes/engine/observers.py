"""What looks at a phase while it trains, as the recipe asks for it."""

import sys
from collections.abc import Callable
from pathlib import Path

from recipes.engine.held_out_windows import read_windows
from recipes.engine.progress import Progress
from recipes.engine.sampling import Sampling
from recipes.engine.validation import Validation
from recipes.held_out import held_out_domains
from recipes.layout import RunFolder
from recipes.schema import Recipe


def validation(recipe: Recipe, number: int, run: RunFolder, separator_id: int, progress: Progress) -> Validation | None:
    """The validation of phase `number`, if there is one.

    Raises:
        UserError: nothing is held out.
    """
    policy, phase = recipe.validation, recipe.phase(number)
    if policy is None:
        return None
    domains = held_out_domains(recipe, run)
    length = recipe.evaluation.sequence_length
    windows = read_windows(run.heldout, domains, policy.tokens_per_source, length, separator_id)
    tokens = phase.micro_batch_size * phase.sequence_length
    every = {policy.every_iterations}
    if recipe.checkpoint.keep_best:
        every.add(recipe.checkpoint.every_iterations)
    return Validation(every, progress, windows, domains, tokens)


def sampling(
    recipe: Recipe,
    number: int,
    run: RunFolder,
    separator_id: int,
    progress: Progress,
    tokenizer: Callable[[], Path],
) -> Sampling | None:
    """The samples of phase `number`, if there are any: without context parallelism a rank has whole rows."""
    phase = recipe.phase(number)
    if recipe.samples is None or phase.context_parallel > 1:
        return None
    tokens = min(phase.micro_batch_size * phase.sequence_length, phase.loss_chunk_tokens or sys.maxsize)
    return Sampling(recipe.samples, progress, tokenizer, separator_id, tokens, run.samples)
