"""Which documents share too much with a held-out document or an evaluation item, by word n-grams.

After the contamination study of GPT-3 (Brown et al. 2020, appendix C): n-grams of 13 normalised words, shorter items
matched whole if they have at least 8 words, and n-grams that many texts share taken for boilerplate. Unlike there, a
document goes or stays as a whole, by how much it shares, and "many" counts items, not training documents.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from data_prep.dedup.item_index import ItemIndex, batches, write_item_index
from data_prep.dedup.ngrams import Words, excerpt, hash_words, windows
from recipes.schema import Strict

_POSTING_BITS, _ITEM_BITS = 40, 32  # of an int64 that holds a text's number above


class Decontaminate(Strict):
    """A document goes if it has the share `coverage` of an item's n-grams, or if the item has that share of its own.

    The first finds an exam question, or a held-out document, inside a longer document; the second finds a document that
    was cut out of a longer item. Boilerplate counts as not shared.

    Why 0.8: with 3 % of 14,377 documents held out, 0.8 drops 24 of 8,618 Turkish court decisions: a sister case decided
    in the same words, or a form text with another case number and offence. 0.7 drops 155, and 0.5 drops 703, mostly
    other cases under the same form text. None of 1,030 laws goes at 0.4.
    """

    evaluation_sets: list[str] = []  # JSON lines (.gz, .zst) or Parquet, relative to the corpus file; globs allowed
    fields: list[str] = ["text"]  # an item is the text of all of these that it has, in one: see `item_text`
    heldout: bool = True  # held-out documents are items too
    ngram: int = Field(13, ge=2, le=64)  # words
    minimum_words: int = Field(8, ge=1)  # shorter items are left out
    coverage: float = Field(0.8, gt=0, le=1)
    boilerplate: int = Field(10, ge=1)  # an n-gram of more held-out documents than this is no sign of any of them

    @model_validator(mode="after")
    def _lengths(self) -> "Decontaminate":
        if self.minimum_words > self.ngram:
            raise ValueError(f"minimum_words ({self.minimum_words}) must not exceed ngram ({self.ngram})")
        return self


class Match(NamedTuple):
    """Why a document goes."""

    item: str
    of_item: float  # share of the item's distinct n-grams that the document has
    of_document: float  # share of the document's n-grams, as often as they occur, that the item has
    example: str  # the document where it first shares an n-gram with the item


def item_text(row: Mapping[str, Any], fields: Sequence[str]) -> str:
    """The text of an evaluation item: of all `fields` that `row` has, in this order; lists and maps are opened."""
    return "\n".join(text for field in fields for text in _strings(row.get(field)))


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from _strings(part)


def build_index(items: Iterable[tuple[str, str]], options: Decontaminate, folder: Path, memory: int) -> None:
    """Write the n-grams of `items` (name, text) into `folder`: see `write_item_index`."""
    write_item_index(items, options.ngram, options.minimum_words, folder, memory)


class Matcher:
    """Finds documents that must go; `folder` was built with the `ngram` of `options`."""

    def __init__(self, folder: Path, options: Decontaminate) -> None:
        self._options = options
        self._index = ItemIndex(folder)

    def match(self, text: str) -> Match | None:
        """Why `text` goes: the item with the largest share, the first of such items; None if it stays."""
        return self.contaminated([text])[0]

    def contaminated(self, texts: Sequence[str]) -> list[Match | None]:
        """`match` of every text, whatever the others are."""
        return [match for batch in batches(texts, len) for match in self._match(batch)]

    def _match(self, texts: Sequence[str]) -> list[Match | None]:
        words = hash_words(texts)
        shared = self._shared(words)
        running = np.maximum(np.bincount(words.text, minlength=len(texts)) - self._options.ngram + 1, 1)
        of_item = shared.distinct / self._index.sizes[shared.item]
        of_document = shared.occurrences / running[shared.text]
        share = np.maximum(of_item, of_document)
        matches: list[Match | None] = [None] * len(texts)
        enough = np.flatnonzero(share >= self._options.coverage)
        order = np.lexsort((-share[enough], shared.text[enough]))  # stable: the first item of those with one share
        for text, first in zip(*np.unique(shared.text[enough[order]], return_index=True), strict=True):
            best = enough[order[first]]
            start = int(shared.start[best] - np.searchsorted(words.text, text))
            example = excerpt(texts[text], start, self._options.ngram)
            item = self._index.name(int(shared.item[best]))
            matches[text] = Match(item, float(of_item[best]), float(of_document[best]), example)
        return matches

    def _shared(self, words: Words) -> "_Shared":
        """Every n-gram of a text once, then once for every item that has it, then counted by text and item."""
        text, start, first, last = self._find(words)
        _, once, times = np.unique(text << _POSTING_BITS | first, return_index=True, return_counts=True)
        number = (last - first)[once]
        ngram = np.repeat(once, number)
        posting = first[ngram] + np.arange(len(ngram)) - np.repeat(np.cumsum(number) - number, number)
        pair = text[ngram] << _ITEM_BITS | self._index.postings.items[posting]
        pairs, which = np.unique(pair, return_inverse=True)
        starts = np.full(len(pairs), np.iinfo(np.int64).max)
        np.minimum.at(starts, which, start[ngram])
        return _Shared(
            text=pairs >> _ITEM_BITS,
            item=pairs & (1 << _ITEM_BITS) - 1,
            distinct=np.bincount(which, minlength=len(pairs)),
            occurrences=np.bincount(which, np.repeat(times, number), minlength=len(pairs)),
            start=starts,
        )

    def _find(self, words: Words) -> NDArray[np.int64]:
        """N-grams of the texts that items have, but for boilerplate: text, first word, first posting, behind the last.

        int64 [4, found], the first word in ascending order within a length.
        """
        found = [np.empty((4, 0), np.int64)]
        for length in self._index.lengths:
            ngrams = windows(words, length)
            there = self._index.postings.find(ngrams.hashes)
            start = ngrams.start[there.query]
            found.append(np.stack([words.text[start], start, there.first, there.last]))
        together = np.concatenate(found, axis=1)
        return together[:, together[3] - together[2] <= self._options.boilerplate]


class _Shared(NamedTuple):
    """What texts share with items, [pairs] each."""

    text: NDArray[np.int64]
    item: NDArray[np.int64]
    distinct: NDArray[np.int64]  # n-grams
    occurrences: NDArray[Any]  # of these in the text
    start: NDArray[np.int64]  # of the first of these: its first word in the batch
