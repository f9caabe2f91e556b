"""The model card of an export that no recipe is given for: what the checkpoint's run and its base say of it."""

from dataclasses import replace
from pathlib import Path

from pydantic import BaseModel

from convert.manifest import short_place
from convert.model_card import Card, licence_of
from convert.origin import origin, run_of
from recipes.load import read_stated


class _Model(BaseModel):
    hf_id: str | None = None


class _Recipe(BaseModel):
    name: str
    model: _Model = _Model()


class _Lock(BaseModel):
    """What a card takes from a run lock."""

    recipe: _Recipe


def known_card(checkpoint: Path, base: Path | None) -> Card:
    """Name, base, licence and provenance, as far as they are known; languages, data and settings take a recipe.

    Raises:
        UserError: the lock of the checkpoint's run is damaged.
    """
    run, known = run_of(checkpoint), {"exported from": short_place(str(checkpoint.resolve()))}
    stated = origin(checkpoint) or {}
    known |= {"base": short_place(str(base.resolve()))} if base else {}
    names = {"recipe": "recipe", "data": "data", "base": "base weights", "run_lock": "run lock"}
    known |= {name: str(stated[field]) for field, name in names.items() if stated.get(field)}
    card = Card(licence=licence_of(base) if base else None, provenance=known)
    if run is None or not run[0].lock.is_file():
        return card
    recipe = read_stated(_Lock, run[0].lock).recipe
    return replace(card, name=f"{recipe.name}, phase {run[1]}", base_model=recipe.model.hf_id)
