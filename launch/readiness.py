"""What must be there before NeMo is imported: checked in a second, said in a sentence."""

import importlib.util
from collections.abc import Sequence

from recipes.blend import Blend, load_blend
from recipes.checkpoints import DIGESTS, final_checkpoint, find_damage, find_start
from recipes.cluster import batch_identity
from recipes.engine.platform import has_transformer_engine
from recipes.errors import UserError
from recipes.held_out import held_out_domains
from recipes.layout import RunFolder
from recipes.schema import Recipe


def unfinished_phases(recipe: Recipe, run: RunFolder, phases: Sequence[int], world_size: int) -> list[int]:
    """Those of `phases` that are left to train, in order, each checked.

    Raises:
        UserError: a phase has no mixture or one of another recipe, its batch does not fit the ranks, what it starts
            from is not there, or what it is validated on.
    """
    for number in phases:
        _check_blend(load_blend(run, number), recipe, number)
        _check_batch(recipe, number, world_size)
    todo = [number for number in sorted(phases) if not _is_finished(run, number)]
    for number in todo:
        if number - 1 not in todo:
            find_start(recipe, run, number)
    if todo and recipe.validation:
        held_out_domains(recipe, run)
    return todo


def check_data(run: RunFolder, phases: Sequence[int]) -> None:
    """Refuse damaged data: the structure of what `phases` read, as `cpt data verify` checks it, and no token.

    Raises:
        UserError: the first problem.
    """
    if phases and run.shards.is_dir():  # else the data is not of this project, and nobody vouches for it
        from data_prep.verify.check import structural  # numpy

        structural(run, phases)


def _is_finished(run: RunFolder, number: int) -> bool:
    """Whether the end of a phase is there, with every file as large as it was saved: to read them all takes long."""
    end = final_checkpoint(run, number)
    return end is not None and not ((end / DIGESTS).is_file() and find_damage(end, read=False))


def check_parts(recipe: Recipe, phases: Sequence[int]) -> None:
    """Refuse phases that need what is not installed here; to be asked where the ranks run, inside their container."""
    if recipe.wandb and importlib.util.find_spec("wandb") is None:
        raise UserError(
            "the recipe's `wandb` needs W&B, which is not installed here; run pip install 'cpt-launcher[wandb]', or "
            "leave it out."
        )
    for phase in map(recipe.phase, phases):
        if phase.context_parallel > 1 and not has_transformer_engine():
            raise UserError(
                f"phase {phase.name}: context_parallel > 1 needs Transformer Engine, which is not installed here."
            )


def _check_blend(blend: Blend, recipe: Recipe, number: int) -> None:
    phase, vocabulary = recipe.phase(number), recipe.model.shape.vocab_size
    for field in ("sequence_length", "global_batch_size", "iterations", "packing"):
        found, expected = getattr(blend, field), getattr(phase, field)
        if found != expected:
            raise UserError(
                f"the mixture of phase {number} was built for {field} {found}, the recipe says {expected}; "
                f"rebuild it with `python data_prep/build_mixture.py --phase {number}`."
            )
    if blend.vocab_size > vocabulary:
        raise UserError(
            f"the mixture of phase {number} was tokenized with {blend.vocab_size} ids, the model has vocab_size "
            f"{vocabulary}; use the model's tokenizer."
        )


def _check_batch(recipe: Recipe, number: int, world_size: int) -> None:
    try:
        batch_identity(recipe.phase(number), world_size)
    except ValueError as error:
        raise UserError(f"recipe {recipe.name} on {world_size} ranks: {error}.") from error
