from pathlib import Path

import xxhash
from hypothesis import given
from hypothesis import strategies as st

from recipes.file_digests import FileDigest, first_difference, measure, share


def test_a_file_is_measured_by_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(5_000_000))
    assert measure(tmp_path / "file") == (5_000_000, xxhash.xxh3_128_hexdigest(bytes(5_000_000)))


@given(st.dictionaries(st.text(min_size=1), st.integers(0, 10**12)), st.integers(1, 9))
def test_every_file_is_read_by_one_rank(sizes: dict[str, int], ranks: int) -> None:
    digests = {name: FileDigest(size, "") for name, size in sizes.items()}
    shares = [share(digests, rank, ranks) for rank in range(ranks)]
    assert sorted(name for one in shares for name in one) == sorted(sizes)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_what_differs_is_said(tmp_path: Path) -> None:
    names = ["long", "changed", "gone"]
    for name in names:
        (tmp_path / name).write_bytes(b"0123456789")
    expected = {name: measure(tmp_path / name) for name in names}
    assert first_difference(tmp_path, expected, names) is None
    (tmp_path / "long").write_bytes(b"0123456789+")
    (tmp_path / "changed").write_bytes(b"012345678-")
    (tmp_path / "gone").unlink()
    assert [first_difference(tmp_path, expected, [name]) for name in names] == [
        "long has 11 bytes, not 10",
        "the content of changed has changed",
        "gone cannot be read, No such file or directory",
    ]
    assert first_difference(tmp_path, expected, []) is None
