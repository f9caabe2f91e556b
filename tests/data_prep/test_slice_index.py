from pathlib import Path

import numpy as np

from data_prep import index_checks
from data_prep.indexed import Index, data_file, index_file, read_index, write_index
from data_prep.slice_index import write_slice_index
from recipes.artifacts import file_digest


def test_a_slice_is_what_megatrons_writer_would_write(tmp_path: Path) -> None:
    random = np.random.RandomState(4)
    count = index_checks.CHUNK + 100
    lengths = random.randint(1, 9, count).astype(np.int32)
    index = Index(np.dtype("<u2"), lengths, 2 * (np.cumsum(lengths, dtype=np.int64) - lengths))
    documents = random.randint(0, count, 2 * count).astype(np.int32)
    digest = write_slice_index(tmp_path / "slice", index, documents)
    write_index(tmp_path / "expected", index.dtype, lengths[documents], index.pointers[documents])
    assert index_file(tmp_path / "slice").read_bytes() == index_file(tmp_path / "expected").read_bytes()
    assert digest == file_digest(index_file(tmp_path / "slice"))
    data_file(tmp_path / "slice").write_bytes(bytes(2 * int(lengths.sum())))
    assert read_index(tmp_path / "slice", whole=False).tokens == lengths[documents].sum()
