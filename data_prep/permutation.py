"""A random order of numbered documents without a list of it: every number has a key, the order is that of the keys.

Keys are the outputs of SplitMix64 (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators"): no
two are equal, any of them is known without those before it, and integer arithmetic is the same on every machine.
"""

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from data_prep.index_checks import CHUNK, chunks
from data_prep.workers import available_cores

Result = TypeVar("Result")
U64 = np.uint64


def seed_of(words: str) -> int:
    """The seed of the order that `words` name, below 2⁶⁴."""
    return int.from_bytes(hashlib.sha256(words.encode()).digest()[:8], "little")


def keys(seed: int, part: slice) -> NDArray[np.uint64]:
    """Keys of the documents `part`: the outputs `part.start + 1` to `part.stop` of SplitMix64."""
    key = np.arange(part.start + 1, part.stop + 1, dtype=U64)
    key *= U64(0x9E3779B97F4A7C15)
    key += U64(seed)
    key ^= key >> U64(30)
    key *= U64(0xBF58476D1CE4E5B9)
    key ^= key >> U64(27)
    key *= U64(0x94D049BB133111EB)
    key ^= key >> U64(31)
    return key


def over_chunks(function: Callable[[slice], Result], count: int) -> Iterator[Result]:
    """`function` of every chunk of `count` documents, in order; threads share the cores, numpy lets them."""
    if count <= CHUNK:
        yield from map(function, chunks(count))
        return
    with ThreadPoolExecutor(available_cores()) as pool:
        yield from pool.map(function, chunks(count))
