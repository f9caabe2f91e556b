"""Bytes that wait until their place in a file is known: in memory up to a bound, then in a nameless file."""

import os
import tempfile
from pathlib import Path
from types import TracebackType
from typing import IO

_BLOCK = 1 << 20  # bytes copied at once: larger ones take long to allocate


class Spool:
    """Collects bytes, then writes them to a file at an offset.

    Args:
        bound: bytes that are held in memory.
        folder: where the rest waits.
    """

    def __init__(self, bound: int, folder: Path) -> None:
        self._bound, self._folder = bound, folder
        self._held: list[memoryview] = []
        self._file: IO[bytes] | None = None
        self.size = 0

    def write(self, data: bytes | memoryview) -> None:
        """Append `data`, which must not be changed afterwards."""
        view = memoryview(data)
        if not view.nbytes:  # numpy's empty arrays cannot be cast
            return
        self.size += view.nbytes
        self._held.append(view.cast("B"))
        if sum(map(len, self._held)) > self._bound:
            self._file = self._file or tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - closed on exit
            self._file.writelines(self._held)
            self._held.clear()

    def place(self, path: Path, offset: int) -> None:
        """Write all to the file at `path` from `offset` on; other processes write before and after it."""
        with path.open("r+b", buffering=0) as target:
            target.seek(offset)
            if self._file:
                self._file.seek(0)
                while block := self._file.read(_BLOCK):
                    _write_all(target.fileno(), memoryview(block))
            for view in self._held:
                _write_all(target.fileno(), view)

    def __enter__(self) -> "Spool":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file:
            self._file.close()


def _write_all(file: int, view: memoryview) -> None:
    while len(view):
        view = view[os.write(file, view[:_BLOCK]) :]
