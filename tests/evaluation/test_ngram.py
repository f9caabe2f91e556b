import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.heldout import Document, Encoded
from evaluation.ngram import train_trigram
from recipes.errors import UserError

SIZE = 12
token = st.integers(1, SIZE - 1)
corpus = st.lists(st.lists(token, max_size=30).map(np.array), min_size=1, max_size=6).filter(lambda c: any(map(len, c)))


@settings(max_examples=60, deadline=None)
@given(corpus, st.integers(0, SIZE - 1), st.integers(0, SIZE - 1))
def test_probabilities_are_positive_and_sum_to_one(documents, a, b):
    model = train_trigram(documents, SIZE, separator_id=0)
    c = np.arange(SIZE)
    p = model.probability(np.full(SIZE, a), np.full(SIZE, b), c)
    assert (p > 0).all()
    assert p.sum() == pytest.approx(1)


def by_hand(documents, a, b, c):
    """Kneser-Ney with dictionaries, straight from the formula."""
    from collections import Counter

    trigrams = Counter(t for d in documents if d for t in zip([0, 0, *d, 0], [0, *d, 0], [*d, 0], strict=False))
    bigrams = Counter((y, z) for _, y, z in trigrams)
    unigrams = Counter((z,) for _, z in bigrams)
    p = 1 / SIZE
    for table, gram in ((unigrams, (c,)), (bigrams, (b, c)), (trigrams, (a, b, c))):
        once, twice = (sum(n == k for n in table.values()) for k in (1, 2))
        discount = once / (once + 2 * twice) if once else 0.5
        following = [n for g, n in table.items() if g[:-1] == gram[:-1]]
        if following:
            p = (max(table[gram] - discount, 0) + discount * len(following) * p) / sum(following)
    return p


@settings(max_examples=60, deadline=None)
@given(corpus, token, token, token)
def test_equals_the_formula_with_dictionaries(documents, a, b, c):
    model = train_trigram(documents, SIZE, separator_id=0)
    got = model.probability(np.array([a, 0]), np.array([b, 0]), np.array([c, c]))
    lists = [d.tolist() for d in documents]
    np.testing.assert_allclose(got, [by_hand(lists, a, b, c), by_hand(lists, 0, 0, c)])


def encoded(ids):
    return Encoded([Document("x", "s", "d")] * len(ids), ids, separator_id=0, vocab_size=SIZE)


def cycles(count, seed):
    """Tokens that follow each other in a cycle, with some noise."""
    random = np.random.default_rng(seed)
    return [
        np.where(random.random(40) < 0.1, random.integers(1, SIZE, 40), (np.arange(40) + i) % (SIZE - 1) + 1)
        for i in range(count)
    ]


def test_beats_a_unigram_on_text_with_order():
    train, test = cycles(30, 1), cycles(5, 2)
    nll = train_trigram(train, SIZE, 0).document_nll(encoded(test)).sum()
    frequency = np.bincount(np.concatenate(train), minlength=SIZE) + 1
    unigram = -np.log(frequency / frequency.sum())[np.concatenate(test)].sum()
    assert nll < 0.7 * unigram


def test_documents_do_not_see_each_other():
    model = train_trigram(cycles(5, 1), SIZE, 0)
    first, second = cycles(2, 3)
    together = model.document_nll(encoded([first, second]))
    alone = [model.document_nll(encoded([ids]))[0] for ids in (first, second)]
    np.testing.assert_allclose(together, alone)


def test_a_final_separator_makes_no_difference():
    plain = cycles(3, 1)
    shards = [np.append(ids, 0).astype(np.uint16) for ids in plain]
    test = encoded(cycles(2, 2))
    np.testing.assert_array_equal(
        train_trigram(plain, SIZE, 0).document_nll(test), train_trigram(shards, SIZE, 0).document_nll(test)
    )


def test_a_large_vocabulary_does_not_overflow():
    size = 151_936
    model = train_trigram([np.array([size - 1] * 5 + [size - 2])], size, size - 3)
    last = np.full(2, size - 1)
    p = model.probability(last, last, np.array([size - 2, 5]))
    assert 0.05 < p[0] < 1 and 0 < p[1] < 1 / size


@pytest.mark.parametrize(
    ("documents", "size", "message"),
    [
        ([], SIZE, "no training tokens"),
        ([np.array([0])], SIZE, "no training tokens"),
        ([np.array([SIZE])], SIZE, "outside the vocabulary"),
        ([np.array([1])], 2**21, "can number at most"),
    ],
)
def test_bad_training_text_is_one_sentence(documents, size, message):
    with pytest.raises(UserError, match=message):
        train_trigram(documents, size, 0)
