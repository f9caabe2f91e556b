"""Where a conversion writes to, and whether the model is the expected one."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from recipes.artifacts import atomic_folder
from recipes.errors import UserError
from recipes.shape import Qwen3Shape


@contextlib.contextmanager
def new_folder(out: Path, sources: Sequence[Path], replace: bool = False) -> Iterator[Path]:
    """A temporary folder that becomes `out` when the block succeeds.

    Raises:
        UserError: `out` is no folder, holds a source, or is occupied, now or at the end (unless `replace`); or the disk
            is full.
    """
    out = out.resolve()
    if os.path.lexists(out) and not (out.is_dir() and (replace or not any(out.iterdir()))):
        raise UserError(f"{out}: the target is not an empty folder; remove it or give another one.")
    for source in sources:
        if source.resolve().is_relative_to(out):
            raise UserError(f"{out}: the target holds the source {source}; give another one.")
    with atomic_folder(out, replace) as folder:
        yield folder


def refuse_other_shape(place: Path, found: Qwen3Shape, expected: Qwen3Shape | None) -> None:
    """Compare two shapes field by field; of positions, the model may have more than expected.

    Raises:
        UserError: the first field that differs.
    """
    if expected is None:
        return
    for field, value in expected.model_dump(exclude={"initializer_range"}).items():  # how random weights began is past
        other = getattr(found, field)
        if other != value and not (field == "max_position_embeddings" and other > value):
            raise UserError(
                f"{place}: {field} is {other!r}, the recipe's model.shape says {value!r}; make them the same."
            )
