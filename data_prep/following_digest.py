"""The sha256 of a file that is still being written, and its way to the disk, both behind the writers."""

import errno
import hashlib
import os
import queue
import threading
from pathlib import Path

_BLOCK = 1 << 20


class FollowingDigest:
    """Hashes `path` from its start as far as `advance` says that it is whole."""

    def __init__(self, path: Path) -> None:
        self._path, self._hash = path, hashlib.sha256()
        self._ends: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._error: OSError | None = None
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def advance(self, end: int) -> None:
        """The first `end` bytes will not change any more."""
        self._ends.put(end)

    def finish(self) -> str:
        """The digest of all that was advanced over.

        Raises:
            OSError: the file could not be read.
        """
        self._ends.put(None)
        self._thread.join()
        if self._error:
            raise self._error
        return self._hash.hexdigest()

    def _follow(self) -> None:
        done, buffer = 0, memoryview(bytearray(_BLOCK))
        try:
            while (end := self._ends.get()) is not None:
                with self._path.open("rb", buffering=0) as stream:
                    os.fdatasync(stream.fileno())  # the disk works while the workers do
                    stream.seek(done)
                    while done < end:
                        size = stream.readinto(buffer[: end - done])
                        if not size:
                            raise OSError(errno.EIO, "the file ends too early", str(self._path))
                        self._hash.update(buffer[:size])
                        done += size
        except OSError as error:
            self._error = error
