import errno
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from recipes.artifacts import (
    atomic_file,
    atomic_folder,
    digest,
    explained_disk_errors,
    file_digest,
    matching_receipt,
    package_version,
    read_fields,
    read_json,
    write_json,
)
from recipes.errors import UserError


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    target = tmp_path / "file.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError), atomic_file(target) as partial:
        partial.write_text("new")
        raise RuntimeError
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_appears_whole_and_replaces_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    for content in ("first", "second"):
        with atomic_folder(target) as partial:
            (partial / f"{content}.txt").write_text(content)
    assert [path.name for path in target.iterdir()] == ["second.txt"]
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_a_killed_writer_left_is_removed_by_the_next(kind: str, tmp_path: Path) -> None:
    script = (
        f"import os, sys, pathlib; from recipes.artifacts import atomic_{kind} as atomic\n"
        "with atomic(pathlib.Path(sys.argv[1])) as partial:\n"
        "    path = partial / 'half' if partial.is_dir() else partial\n"
        "    path.write_text('x'); os.kill(os.getpid(), 9)\n"
    )
    target = tmp_path / "target"
    subprocess.run([sys.executable, "-c", script, str(target)], check=False)
    assert not target.exists()
    assert len(list(tmp_path.iterdir())) == 1
    with atomic_file(target) as partial:
        partial.write_text("x")
    assert list(tmp_path.iterdir()) == [target]


def test_a_writer_that_lives_is_left_alone(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as other:
        theirs = [
            tmp_path / f".target.{socket.gethostname()}-{other.pid}.partial",
            tmp_path / ".target.elsewhere-1.partial",
        ]
        for path in theirs:
            path.touch()
        with atomic_file(tmp_path / "target") as partial:
            partial.write_text("x")
        other.kill()
    assert all(path.exists() for path in theirs)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_disk_errors_become_a_sentence_that_names_the_target(code: int) -> None:
    with (
        pytest.raises(UserError, match="/somewhere/shards: cannot be written"),
        explained_disk_errors(Path("/somewhere/shards")),
    ):
        raise OSError(code, os.strerror(code))


def test_json_round_trip_and_errors(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"ğ": 1})
    assert read_json(tmp_path / "a.json") == {"ğ": 1}
    with pytest.raises(UserError, match="does not exist"):
        read_json(tmp_path / "none.json")
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(UserError, match="expected readable JSON"):
        read_json(tmp_path / "a.json")


def test_fields_by_name_or_a_sentence(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": 1})
    assert read_fields(tmp_path / "a.json") == {"b": 1}
    write_json(tmp_path / "a.json", ["b", 1])
    with pytest.raises(UserError, match=r"a\.json: expected fields by name, found list; restore the file\.$"):
        read_fields(tmp_path / "a.json")


def test_what_is_not_installed_has_no_version() -> None:
    assert package_version("pytest") == pytest.__version__
    assert package_version("no-such-distribution") is None


def test_a_receipt_matches_its_own_inputs_only(tmp_path: Path) -> None:
    path = tmp_path / "receipt.json"
    assert matching_receipt(path, {"a": [1]}) is None
    write_json(path, {"inputs": {"a": [1]}, "tokens": 3})
    assert matching_receipt(path, {"a": (1,)}) == {"inputs": {"a": [1]}, "tokens": 3}
    assert matching_receipt(path, {"a": [2]}) is None


def test_digests_do_not_depend_on_key_order(tmp_path: Path) -> None:
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1}) != digest({"a": 2, "b": 1})
    (tmp_path / "x").write_bytes(b"abc")
    assert file_digest(tmp_path / "x") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
