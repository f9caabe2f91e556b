"""The digest of a file that is still being written."""

import hashlib
from pathlib import Path

import pytest

from data_prep.following_digest import FollowingDigest


def test_it_is_that_of_the_whole_file_however_it_grew(tmp_path: Path) -> None:
    content = bytes(range(256)) * 100_000
    path = tmp_path / "tokens.bin"
    path.touch()
    digest = FollowingDigest(path)
    with path.open("wb") as stream:
        for start in range(0, len(content), 3_333_333):
            stream.write(content[start : start + 3_333_333])
            stream.flush()
            digest.advance(stream.tell())
    assert digest.finish() == hashlib.sha256(content).hexdigest()


def test_nothing_written_is_the_digest_of_nothing(tmp_path: Path) -> None:
    assert FollowingDigest(tmp_path / "none").finish() == hashlib.sha256().hexdigest()


def test_a_file_that_lost_its_end_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "tokens.bin"
    path.write_bytes(b"12345")
    digest = FollowingDigest(path)
    digest.advance(10)
    with pytest.raises(OSError, match="ends too early"):
        digest.finish()
