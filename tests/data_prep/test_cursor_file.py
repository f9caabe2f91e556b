from pathlib import Path

import numpy as np
import pytest

from data_prep.cursor_file import beginning, cursor_file, position_of, stored_position, write_cursor
from data_prep.slices import Cursor, Stream


@pytest.mark.parametrize(("most", "bits"), [(0, 0), (1, 1), (6, 3)])
def test_a_cursor_comes_back_and_takes_a_bit_per_document(tmp_path: Path, most: int, bits: int) -> None:
    readings = np.random.RandomState(0).randint(0, most + 1, 10_001).astype(np.uint8)
    cursor = Cursor(3, 12_345, readings)
    entry = write_cursor(tmp_path, "laws", cursor)
    assert (tmp_path / cursor_file("laws")).stat().st_size == 128 + bits * 1_251
    stored = stored_position(tmp_path, "laws", entry, len(readings))
    again = stored.load()
    assert (again.epoch, again.tokens, again.readings.tolist()) == (3, 12_345, readings.tolist())
    assert stored.digest == position_of(cursor).digest


def test_the_digest_is_that_of_all_that_a_phase_goes_on_from() -> None:
    cursor = Cursor(0, 10, np.array([1, 0, 1], np.uint8))
    others = [
        cursor._replace(epoch=1),
        cursor._replace(tokens=11),
        cursor._replace(readings=np.array([1, 1, 0], np.uint8)),
    ]
    stream = Stream("laws", "legal", np.array([5, 5, 5], np.int32), 7, 4)
    digests = {beginning(stream).digest, *(position_of(one).digest for one in [cursor, *others])}
    assert len(digests) == 5
    assert beginning(stream).load().readings.tolist() == [0, 0, 0]
