"""Imported by the process that forks the workers: what they then share, loaded once instead of in each of them."""

import contextlib
import os
import signal
import sys

signal.signal(signal.SIGINT, signal.SIG_IGN)  # the command is interrupted, and says so

import gigatoken  # noqa: E402

from data_prep.workers import MAIN_FILE, PRELOADED_TOKENIZER  # noqa: E402

# A worker takes this for the command's main module; else it would import that, and all that the command line needs.
sys.modules["__main__"].__file__ = os.environ.get(MAIN_FILE)
FILE = os.environ.get(PRELOADED_TOKENIZER)
TOKENIZER = None
with contextlib.suppress(Exception):  # a worker loads it itself, and says what is wrong with it
    TOKENIZER = gigatoken.Tokenizer(FILE) if FILE else None
