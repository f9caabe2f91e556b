"""Have Megatron's index files built before the job: by a process of their own, since this side never loads Megatron."""

import collections
from collections.abc import Sequence

from recipes.errors import UserError
from recipes.layout import RunFolder
from recipes.processes import module_output


def build_caches(run: RunFolder, phases: Sequence[int]) -> None:
    """Build the index files of mixtures that are there.

    Raises:
        UserError: the process failed, with its last line.
    """
    asked = [option for number in phases for option in ("--phase", str(number))]
    try:
        collections.deque(module_output("recipes.engine.build_cache", str(run.root), *asked), maxlen=0)
    except UserError as error:
        raise UserError(f"--build-cache: {error}") from error
