import numpy as np

from data_prep.phase_table import expected_truncation


def test_expected_truncation_is_the_mean_over_orders() -> None:
    random = np.random.RandomState(0)
    lengths = random.randint(1, 60, 300).astype(np.int32)
    documents = random.randint(0, 300, 2_000).astype(np.int32)
    cut, fitting = [], []
    for _ in range(60):
        listed = lengths[random.permutation(documents)].astype(np.int64)
        ends = np.cumsum(listed)
        split = (ends - listed) // 32 != (ends - 1) // 32
        cut.append(split.mean())
        fitting.append((split & (listed <= 32)).mean())
    found = expected_truncation(lengths, documents, 32)
    assert np.allclose(found, [np.mean(cut), np.mean(fitting)], atol=0.005)


def test_documents_of_one_token_are_never_cut_and_longer_ones_than_a_sample_always() -> None:
    lengths = np.array([1, 33, 1000], np.int32)
    assert expected_truncation(lengths, np.array([0, 0], np.int32), 32) == (0, 0)
    assert expected_truncation(lengths, np.array([1, 2], np.int32), 32) == (1, 0)
    assert expected_truncation(lengths, np.array([], np.int32), 32) == (0, 0)
