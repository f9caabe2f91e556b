"""Several processes write the same files in the order of their parts, each as soon as those before know their sizes."""

from collections.abc import Sequence

from data_prep.workers import CONTEXT


class Turn:
    """Whose turn it is, and where each of `streams` files ends so far. Shared by inheritance alone.

    Parts must be started in order, or a worker would wait for one that never comes.
    """

    def __init__(self, streams: int) -> None:
        self._condition = CONTEXT.Condition()
        self._next = CONTEXT.RawValue("q", 0)
        self._ends = CONTEXT.RawArray("q", streams)
        self._failed = CONTEXT.RawValue("b", 0)

    def reset(self) -> None:
        """Begin with part 0 of other files."""
        self._next.value = 0
        self._ends[:] = [0] * len(self._ends)

    def take(self, part: int, sizes: Sequence[int]) -> list[int] | None:
        """Wait until the parts before `part` have taken their place; the offset in each file, or None if one failed."""
        with self._condition:
            self._condition.wait_for(lambda: self._failed.value or self._next.value == part)
            if self._failed.value:
                return None
            offsets = list(self._ends)
            self._ends[:] = [end + size for end, size in zip(offsets, sizes, strict=True)]
            self._next.value += 1
            self._condition.notify_all()
        return offsets

    def fail(self) -> None:
        """Let nobody wait any longer: a part will not come."""
        with self._condition:
            self._failed.value = 1
            self._condition.notify_all()
