import numpy as np

from data_prep.index_checks import CHUNK
from data_prep.permutation import keys, over_chunks, seed_of


def test_keys_are_the_published_outputs_of_splitmix64() -> None:
    """Seed 1234567 as in the reference implementation's commonly quoted vector."""
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    assert keys(1234567, slice(0, 4)).tolist() == expected


def test_any_part_of_an_order_is_known_without_the_rest() -> None:
    seed = seed_of("7/laws/0")
    whole = keys(seed, slice(0, 1000))
    assert np.array_equal(whole[300:700], keys(seed, slice(300, 700)))
    assert len(np.unique(whole)) == 1000
    assert np.argsort(whole)[:6].tolist() == [615, 43, 419, 912, 730, 863]  # the same on every machine
    assert not np.array_equal(np.argsort(whole), np.argsort(keys(seed_of("7/laws/1"), slice(0, 1000))))


def test_chunks_come_back_in_order() -> None:
    count = 3 * CHUNK + 5
    parts = list(over_chunks(lambda part: np.arange(part.start, part.stop), count))
    assert np.array_equal(np.concatenate(parts), np.arange(count))
    assert list(over_chunks(lambda part: part, 0)) == []
