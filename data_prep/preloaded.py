"""Imported by the process that forks the workers: what they then share, loaded once instead of in each of them."""

import contextlib
import os
import signal

signal.signal(signal.SIGINT, signal.SIG_IGN)  # the command is interrupted, and says so

import awkward  # type: ignore[import-untyped]  # noqa: E402, F401
import gigatoken  # noqa: E402

VARIABLE = "CPT_PRELOADED_TOKENIZER"  # the only way to tell that process anything
FILE = os.environ.get(VARIABLE)
TOKENIZER = None
with contextlib.suppress(Exception):  # a worker loads it itself, and says what is wrong with it
    TOKENIZER = gigatoken.Tokenizer(FILE) if FILE else None
