"""Tell a damaged file, which is counted and read as far as it goes, from one that this machine cannot read."""

import os
import zlib
from pathlib import Path

from recipes.errors import UserError

DAMAGE = (EOFError, OSError, ValueError, zlib.error)  # what gzip and pyarrow raise for bytes that make no sense


def refuse_unreadable(path: Path, error: Exception) -> None:
    """Return if `error` speaks of a file's content.

    Raises:
        UserError: the operating system could not give that content: a missing file, a permission, a failing disk.
    """
    if isinstance(error, OSError) and error.errno:
        raise UserError(
            f"corpus file {path} cannot be read ({os.strerror(error.errno)}); mend `files` or its permissions."
        ) from error
