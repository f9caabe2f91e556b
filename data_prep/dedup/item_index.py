"""The n-grams of items on disk, larger than memory: which items have an n-gram, how many an item has, its name."""

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray

from data_prep.dedup.ngrams import Words, hash_words, windows
from data_prep.dedup.postings import Items, Keys, Postings, write_postings
from recipes.artifacts import atomic_folder, read_json, write_json

_BATCH = 1 << 22  # characters of text hashed at a time
_NAMES = "names.txt"  # UTF-8, one after the other
_NAME_ENDS = "name_ends.npy"  # int64 [items], bytes
_SIZES = "sizes.npy"  # uint32 [items], distinct n-grams
_LENGTHS = "lengths.json"  # of the n-grams in the index, words

T = TypeVar("T")


def write_item_index(
    items: Iterable[tuple[str, str]], ngram: int, minimum_words: int, folder: Path, memory: int
) -> None:
    """Write the distinct n-grams of `items` (name, text) into `folder`, whole or not at all.

    An item of fewer than `ngram` words, but at least `minimum_words`, is one n-gram of its own length. Takes up to 2³²
    items of 2⁴⁰ n-grams together, and about `memory` bytes + 12 per item. The files depend on the items and their
    order alone.
    """
    with atomic_folder(folder) as partial, (partial / _NAMES).open("wb") as names:
        writer = _Writer(names, ngram, minimum_words)
        write_postings(map(writer.postings, batches(items, lambda item: len(item[1]))), partial, memory)
        np.save(partial / _SIZES, np.array(writer.sizes, np.uint32))
        np.save(partial / _NAME_ENDS, np.array(writer.name_ends, np.int64))
        write_json(partial / _LENGTHS, sorted(writer.lengths))


class ItemIndex:
    """The index in `folder`, memory-mapped: processes share what they read of it."""

    def __init__(self, folder: Path) -> None:
        self.postings = Postings(folder)
        self.lengths: list[int] = read_json(folder / _LENGTHS)
        self.sizes = np.load(folder / _SIZES, mmap_mode="r", allow_pickle=False)
        self._name_ends = np.load(folder / _NAME_ENDS, mmap_mode="r", allow_pickle=False)
        self._names = folder / _NAMES

    def name(self, item: int) -> str:
        start = int(self._name_ends[item - 1]) if item else 0
        with self._names.open("rb") as names:
            names.seek(start)
            return names.read(int(self._name_ends[item]) - start).decode()


class _Writer:
    """Turns batches of items into postings, and gathers what else there is to know of them."""

    def __init__(self, names: BinaryIO, ngram: int, minimum_words: int) -> None:
        self._names, self._ngram, self._minimum_words = names, ngram, minimum_words
        self.sizes, self.name_ends = array("I"), array("q")
        self.lengths: set[int] = set()

    def postings(self, items: Sequence[tuple[str, str]]) -> tuple[Keys, Items]:
        words = hash_words([text for _, text in items])
        lengths = np.minimum(np.bincount(words.text, minlength=len(items)), self._ngram)
        lengths[lengths < self._minimum_words] = 0
        self.lengths |= set(lengths[lengths > 0].tolist())
        keys, owners = _distinct(words, lengths)
        numbers = (owners + len(self.sizes)).astype(np.uint32)
        self.sizes.extend(np.bincount(owners, minlength=len(items)).tolist())
        for name, _ in items:
            self._names.write(name.encode("utf-8", "replace"))
            self.name_ends.append(self._names.tell())
        return keys, numbers


def _distinct(words: Words, lengths: NDArray[np.int64]) -> tuple[Keys, NDArray[np.int64]]:
    """The distinct n-grams of every text, of the text's own length (0: none), and the text of each, ascending."""
    keys, owners = [np.empty(0, np.uint64)], [np.empty(0, np.int64)]
    for length in np.unique(lengths[lengths > 0]).tolist():
        grams = windows(words, length)
        owner = words.text[grams.start]
        keys.append(grams.hashes[lengths[owner] == length])
        owners.append(owner[lengths[owner] == length])
    key, owner = np.concatenate(keys), np.concatenate(owners)
    order = np.lexsort((key, owner))
    key, owner = key[order], owner[order]
    new = np.ones(len(key), bool)
    new[1:] = (key[1:] != key[:-1]) | (owner[1:] != owner[:-1])
    return key[new], owner[new]


def batches(things: Iterable[T], characters: Callable[[T], int]) -> Iterator[list[T]]:
    """Things in their order, as many at a time as have about 4 million characters."""
    batch: list[T] = []
    size = 0
    for thing in things:
        batch.append(thing)
        size += characters(thing) + 1
        if size >= _BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
