"""Files that are whole or absent: atomic writes, digests, receipts.

Every artifact is written under a temporary name beside its target, flushed to disk and renamed, so that a process that
is killed at any line leaves either the old file or the new one.
"""

import contextlib
import errno
import fcntl
import hashlib
import importlib.metadata
import json
import math
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from recipes.errors import UserError

TEMPORARY = ".partial"


def package_version(name: str) -> str | None:
    """The version of the distribution `name`; None if it is not installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def tool_version() -> str:
    """The installed version of this distribution."""
    return package_version("cpt-launcher") or "uninstalled"


@contextlib.contextmanager
def atomic_file(target: Path) -> Iterator[Path]:
    """Yield a temporary path beside `target`; rename it to `target` if the block succeeds, remove it if not."""
    with explained_disk_errors(target):
        partial = _temporary_beside(target)
        try:
            yield partial
            _flush(partial)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(target: Path, replace: bool = True) -> Iterator[Path]:
    """Yield a temporary folder beside `target`; rename it to `target` if the block succeeds, remove it if not.

    An existing `target` is replaced; without `replace` only if it is an empty folder.
    """
    with explained_disk_errors(target):
        partial = _temporary_beside(target)
        try:
            partial.mkdir()
            yield partial
            for path in partial.rglob("*"):
                if path.is_file():
                    _flush(path)
            if replace:
                _remove(target)
            partial.replace(target)  # over an empty folder, but over no other
        finally:
            shutil.rmtree(partial, ignore_errors=True)


@contextlib.contextmanager
def exclusive(path: Path, wait: bool = True) -> Iterator[bool]:
    """Hold the lock file `path`; yields whether it is held, which it is not if another holds it and `wait` is False.

    The kernel gives it back however the holder ends. Where the file system has no locks, everybody holds it.
    """
    with explained_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = path.open("a")
    with stream:
        held = True
        try:
            fcntl.flock(stream, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held = False
        except OSError:
            pass
        yield held


def _temporary_beside(target: Path) -> Path:
    """A name that says who writes; what a process that is gone left under such a name is removed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{target.name}."
    for path in target.parent.iterdir():
        if path.name.startswith(prefix) and path.name.endswith(TEMPORARY):
            writer = path.name.removeprefix(prefix).removesuffix(TEMPORARY)
            if _is_gone(writer):
                _remove(path)
    return target.with_name(f"{prefix}{socket.gethostname()}-{os.getpid()}{TEMPORARY}")


def _remove(path: Path) -> None:
    """Remove a file, a folder, or a link to one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _is_gone(writer: str) -> bool:
    """Whether the process `host-pid` has ended; processes of other machines are taken to live."""
    host, _, pid = writer.rpartition("-")
    if host != socket.gethostname() or not pid.isdigit():
        return False
    return int(pid) == os.getpid() or not Path("/proc", pid).exists()


@contextlib.contextmanager
def explained_disk_errors(target: Path) -> Iterator[None]:
    """Turn a full disk, a read-only file system or a missing permission into one sentence that names `target`."""
    try:
        yield
    except OSError as error:
        remedies = {
            errno.ENOSPC: "no space is left on its disk; free some or choose another folder",
            errno.EDQUOT: "the disk quota is used up; free some or choose another folder",
            errno.EFBIG: "the limit on a file's size is reached; raise it (ulimit -f) or choose another folder",
            errno.EROFS: "its file system is read-only; choose another folder",
            errno.EACCES: "permission is denied; choose another folder",
        }
        remedy = remedies.get(error.errno or 0, f"{error.strerror or error}; choose another folder")
        raise UserError(f"{target}: cannot be written, {remedy}.") from error


def write_json(target: Path, content: Any) -> None:
    """Write `content` as indented JSON, atomically."""
    with atomic_file(target) as partial:
        partial.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_json_if_changed(target: Path, content: Any) -> None:
    """`write_json`, unless `target` holds that already: the time of a file that did not change stays."""
    try:
        same = read_json(target) == json_form(content)
    except UserError:  # missing or damaged
        same = False
    if not same:
        write_json(target, content)


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises:
        UserError: the file is missing, unreadable or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{path}: the file does not exist.") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: expected readable JSON ({error}).") from error


def read_fields(path: Path) -> dict[str, Any]:
    """Read a JSON object: fields by name.

    Raises:
        UserError: the file is missing, unreadable or anything else.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected fields by name, found {type(content).__name__}; restore the file.")
    return content


def matching_receipt(path: Path, inputs: Any) -> dict[str, Any] | None:
    """The receipt at `path` if it is there, readable and written for exactly these `inputs`, else None."""
    try:
        receipt = read_json(path)
    except UserError:
        return None
    same = isinstance(receipt, dict) and receipt.get("inputs") == json_form(inputs)
    return receipt if same else None


def json_form(content: Any) -> Any:
    """`content` as it is when it comes back from a JSON file: tuples are lists, keys are strings."""
    return json.loads(json.dumps(content))


def finite(value: float) -> float | None:
    """`value`, or None for NaN and infinity, which JSON has not."""
    return value if math.isfinite(value) else None


def digest(content: Any) -> str:
    """sha256 of the canonical JSON form of `content`: the same value gives the same digest on every machine."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def sealed(content: dict[str, Any]) -> dict[str, Any]:
    """`content` with its own digest as the last field."""
    return {**content, "digest": digest(content)}


def is_sealed(content: Any) -> bool:
    """Whether `content` is as `sealed` made it, a round trip through JSON aside."""
    if not isinstance(content, dict) or "digest" not in content:
        return False
    return bool(content["digest"] == digest({name: value for name, value in content.items() if name != "digest"}))


def file_digest(path: Path) -> str:
    """sha256 of a file's bytes, read in blocks."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _flush(path: Path) -> None:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
