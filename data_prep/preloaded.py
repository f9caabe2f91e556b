"""Imported by the process that forks the workers: what they then share, loaded once instead of in each of them."""

import contextlib
import os
import signal

signal.signal(signal.SIGINT, signal.SIG_IGN)  # the command is interrupted, and says so

import awkward  # type: ignore[import-untyped]  # noqa: E402, F401
import gigatoken  # noqa: E402

from data_prep.workers import PRELOADED_TOKENIZER  # noqa: E402

FILE = os.environ.get(PRELOADED_TOKENIZER)
TOKENIZER = None
with contextlib.suppress(Exception):  # a worker loads it itself, and says what is wrong with it
    TOKENIZER = gigatoken.Tokenizer(FILE) if FILE else None
