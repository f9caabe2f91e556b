"""Imported by the process that forks the workers: what they then share, loaded once instead of in each of them."""

import os
from pathlib import Path

import awkward  # type: ignore[import-untyped]  # noqa: F401
import gigatoken

VARIABLE = "CPT_PRELOADED_TOKENIZER"  # the only way to tell that process anything
FILE = os.environ.get(VARIABLE)
TOKENIZER = gigatoken.Tokenizer(FILE) if FILE and Path(FILE).is_file() else None
