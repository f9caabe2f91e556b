"""An honest baseline without a network: an interpolated Kneser-Ney trigram over token ids.

Chen and Goodman (1998), section 2.7, with one discount per order, D = n1 / (n1 + 2·n2), counts of continuations below
the trigram, and the uniform distribution under the unigram. Documents are delimited as in evaluation.perplexity: two
separators stand before each (a trigram's context is two tokens), and nothing is predicted across documents.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from evaluation.heldout import Encoded
from recipes.errors import UserError


@dataclass(frozen=True)
class Table:
    """Numbers under int64 keys, zero where a key is absent. Keys are sorted and distinct."""

    keys: np.ndarray
    values: np.ndarray

    def __getitem__(self, wanted: np.ndarray) -> np.ndarray:
        place = np.searchsorted(self.keys, wanted).clip(max=len(self.keys) - 1)
        return np.where(self.keys[place] == wanted, self.values[place], 0)


@dataclass(frozen=True)
class Order:
    """One order of the model: P(w|h) = max(count[h w] - D, 0) / total[h] + D · distinct[h] / total[h] · P_lower."""

    count: Table  # of each n-gram
    total: Table  # of each history: sum of its counts
    distinct: Table  # of each history: how many tokens follow it
    discount: float

    def interpolate(self, ngram: np.ndarray, history: np.ndarray, lower: np.ndarray) -> np.ndarray:
        """Probabilities of this order over those of the lower one; `lower` itself where the history was never seen."""
        total = self.total[history]
        seen = np.maximum(total, 1)
        own = np.maximum(self.count[ngram] - self.discount, 0) / seen
        return np.where(total > 0, own + self.discount * self.distinct[history] / seen * lower, lower)


@dataclass(frozen=True)
class Trigram:
    """A trained model. Memory: a few dozen bytes per distinct trigram."""

    vocab_size: int
    separator_id: int
    unigrams: Order
    bigrams: Order
    trigrams: Order

    def probability(self, a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
        """P(c | a b), float64, for int64 arrays of equal shape. Sums to one over c."""
        size = self.vocab_size
        p = self.unigrams.interpolate(c, np.zeros_like(c), np.full(c.shape, 1 / size))
        p = self.bigrams.interpolate(b * size + c, b, p)
        return self.trigrams.interpolate((a * size + b) * size + c, a * size + b, p)

    def document_nll(self, encoded: Encoded) -> np.ndarray:
        """Negative log-likelihood of every document: float64 [documents], nats; the tokens of perplexity.document_nll.

        The context is not cut at window borders, which is a small favour to the trigram.
        """
        total = []
        for ids in encoded.ids:
            stream = np.concatenate([[self.separator_id] * 2, ids])
            total.append(-np.log(self.probability(stream[:-2], stream[1:-1], stream[2:])).sum())
        return np.array(total)


def train_trigram(documents: Iterable[np.ndarray], vocab_size: int, separator_id: int) -> Trigram:
    """Count the trigrams of `documents`: integer arrays [tokens], with or without their final separator.

    Raises:
        UserError: no tokens, a token outside the vocabulary, or a vocabulary whose trigrams do not fit into int64.
    """
    if vocab_size >= 2**21:
        raise UserError(f"a trigram model can number at most {2**21:,} tokens, the vocabulary has {vocab_size:,}.")
    a, b, c = _trigrams(documents, vocab_size, separator_id)
    keys, counts = np.unique((a * vocab_size + b) * vocab_size + c, return_counts=True)
    trigrams = _order(keys, counts, vocab_size)
    # A bigram counts once for every different token before it, a unigram once for every different bigram it ends.
    keys, counts = np.unique(keys % vocab_size**2, return_counts=True)
    bigrams = _order(keys, counts, vocab_size)
    keys, counts = np.unique(keys % vocab_size, return_counts=True)
    return Trigram(vocab_size, separator_id, _order(keys, counts, vocab_size), bigrams, trigrams)


def _trigrams(
    documents: Iterable[np.ndarray], vocab_size: int, separator_id: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    parts: list[np.ndarray] = []
    before = np.full(2, separator_id)
    for document in documents:
        text = document[:-1] if len(document) and document[-1] == separator_id else document
        parts += [before, text]
    stream = np.concatenate([*parts, before[:1]]).astype(np.int64)
    if not any(len(text) for text in parts[1::2]):
        raise UserError("the trigram baseline got no training tokens; build the shards first.")
    if stream.min() < 0 or stream.max() >= vocab_size:
        raise UserError(
            f"a training token lies outside the vocabulary of {vocab_size:,}; the shards use another tokenizer."
        )
    a, b, c = stream[:-2], stream[1:-1], stream[2:]
    real = ~((b == separator_id) & (c == separator_id))  # the second separator is put there, not predicted
    return a[real], b[real], c[real]


def _order(keys: np.ndarray, counts: np.ndarray, vocab_size: int) -> Order:
    histories, start, distinct = np.unique(keys // vocab_size, return_index=True, return_counts=True)
    once, twice = int((counts == 1).sum()), int((counts == 2).sum())
    discount = once / (once + 2 * twice) if once else 0.5  # some mass must always be left for what was not seen
    return Order(
        count=Table(keys, counts),
        total=Table(histories, np.add.reduceat(counts, start)),
        distinct=Table(histories, distinct),
        discount=discount,
    )
