"""The ranks agree on where a phase starts, before NeMo is set up: from a checkpoint whose bytes are as they were saved.

They speak through the key-value store of the phase. Rank 0 looks what is there; every rank reads its share of the
files; a damaged checkpoint is set aside by name, and the one before it is looked at.
"""

import json
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import NamedTuple

import torch.distributed as dist

from recipes.attempts import Attempt, begin_attempt
from recipes.checkpoints import Start, find_damage, find_start, remove_leftovers, set_aside
from recipes.layout import RunFolder
from recipes.schema import Recipe


class Ranks(NamedTuple):
    """This rank among all of a phase, and where they meet."""

    store: dist.Store
    rank: int
    size: int

    def from_first(self, key: str, content: Callable[[], str]) -> str:
        """What rank 0 has to say under `key`; the others wait for it."""
        if self.rank == 0:
            self.store.set(key, content())
        return self.store.get(key).decode()

    def first_of_all(self, key: str, mine: str | None) -> str | None:
        """The finding of the lowest rank that has one, or None; every rank learns it when all have spoken."""
        self.store.set(f"{key}/{self.rank}", mine or "")

        def finding() -> str:
            return next(filter(None, (self.store.get(f"{key}/{rank}").decode() for rank in range(self.size))), "")

        return self.from_first(key, finding) or None

    def leave(self) -> None:
        """Before a process ends: rank 0, which may hold the store, waits until the others have read all they need."""
        self.store.set(f"left/{self.rank}", "")
        if self.rank == 0:
            self.store.wait([f"left/{rank}" for rank in range(self.size)])


def agree_on_start(
    ranks: Ranks, recipe: Recipe, run: RunFolder, phase: int, say: Callable[[str], None]
) -> tuple[Start, Attempt]:
    """Begin an attempt, clean up after earlier ones, and find where to start; the same on every rank.

    Raises:
        UserError: on rank 0: there is nothing to start from, or the run's folder cannot be written.
    """
    folder = run.training / "attempts"
    attempt = Attempt(folder, int(ranks.from_first("attempt", lambda: str(begin_attempt(folder).number))))
    if ranks.rank == 0:
        remove_leftovers(run.checkpoints(phase))
    for turn in count():
        start = _from_json(ranks.from_first(f"start/{turn}", lambda: _to_json(find_start(recipe, run, phase))))
        if start.path is None or start.path == run.base_checkpoint:  # that is proven by its loss
            return start, attempt
        damage = ranks.first_of_all(f"damage/{turn}", find_damage(start.path, ranks.rank, ranks.size))
        if damage is None:
            return start, attempt
        if ranks.rank == 0:
            aside = set_aside(start.path).name
            say(f"{start.path} is damaged ({damage}): it is set aside as {aside}, and the one before is used.")
    raise AssertionError


def _to_json(start: Start) -> str:
    return json.dumps([start.path and str(start.path), start.iteration, start.optimizer])


def _from_json(text: str) -> Start:
    path, iteration, optimizer = json.loads(text)
    return Start(path and Path(path), iteration, optimizer)
