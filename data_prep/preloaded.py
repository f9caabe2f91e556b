"""Imported by the process that forks the workers: what they then share, loaded once instead of in each of them."""

import contextlib
import ctypes
import os
import signal
import sys

signal.signal(signal.SIGINT, signal.SIG_IGN)  # the command is interrupted, and says so

# What the tokens of one part gave back, the next part takes again: else the kernel clears and maps all of it anew.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
_KEPT = 128 << 20  # bytes
with contextlib.suppress(AttributeError):  # another C library
    for option in (_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD):
        ctypes.CDLL(None).mallopt(option, _KEPT)

import gigatoken  # noqa: E402

from data_prep.workers import MAIN_FILE, PRELOADED_TOKENIZER  # noqa: E402

# A worker takes this for the command's main module; else it would import that, and all that the command line needs.
sys.modules["__main__"].__file__ = os.environ.get(MAIN_FILE)
FILE = os.environ.get(PRELOADED_TOKENIZER)
TOKENIZER = None
with contextlib.suppress(Exception):  # a worker loads it itself, and says what is wrong with it
    TOKENIZER = gigatoken.Tokenizer(FILE) if FILE else None
