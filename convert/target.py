"""Where a conversion writes to, and whether the model is the expected one."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from recipes.artifacts import atomic_folder
from recipes.errors import UserError
from recipes.shape import Qwen3Shape


@contextlib.contextmanager
def new_folder(out: Path, sources: Sequence[Path], replace: bool = False) -> Iterator[Path]:
    """A temporary folder that becomes `out` when the block succeeds.

    Raises:
        UserError: `out` is a file, is occupied (unless `replace`) or holds a source; or the disk is full.
    """
    if out.is_file() or (out.is_dir() and any(out.iterdir()) and not replace):
        raise UserError(f"{out}: the target is not empty; remove it or give another one.")
    for source in sources:
        if source.resolve().is_relative_to(out.resolve()):
            raise UserError(f"{out}: the target holds the source {source}; give another one.")
    with atomic_folder(out) as folder:
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
