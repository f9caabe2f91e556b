"""Finds the rank that all others wait for, names it, and ends the job.

A thread of every rank publishes its `Beat` in the key-value store of the phase and needs nothing from the main thread,
which may be stuck anywhere. The thread of rank 0, or of the last rank if that of rank 0 has fallen silent, compares
them. Upstream's timeouts (30 minutes for a collective call) name nobody.
"""

import faulthandler
import json
import os
import sys
import threading
import time
from collections.abc import Callable

from recipes.engine.beats import Beat, Observed, hung, sentence
from recipes.engine.heartbeat import Heart
from recipes.engine.start import Ranks
from recipes.schema import Faults

_LONGEST_INTERVAL = 10.0  # seconds between two beats


class HangWatch:
    """Watches from the start of a phase to its end: `with HangWatch(…) as watch`; `watch.heart` is a callback.

    A rank that cannot even run a thread, because a C library holds Python's lock, or reach the store, because the host
    that held it is gone, prints its stack and ends later, by a timer of the interpreter's that needs neither.

    Args:
        ranks: of the phase.
        say: prints a line for people.
    """

    def __init__(self, ranks: Ranks, faults: Faults, say: Callable[[str], None]) -> None:
        self.heart = Heart(faults)
        # a connection of its own: the main thread may be waiting on the other; torch's stubs lack it
        self.store = ranks.store.clone()  # type: ignore[attr-defined]
        self.rank, self.last, self.say = ranks.rank, ranks.size - 1, say
        self.interval = min(_LONGEST_INTERVAL, self.heart.short / 10)
        self._keys = [f"beat/{number}" for number in range(ranks.size)]
        self._seen: dict[int, tuple[Beat, float, float]] = {}  # of each rank: beat, when it came, when it had progress
        self._timed = -1  # progress that the timer was set at
        self._timer, self._stop = threading.Lock(), threading.Event()

    def __enter__(self) -> "HangWatch":
        threading.Thread(target=self._watch, daemon=True, name="hang watch").start()
        return self

    def __exit__(self, *error: object) -> None:
        with self._timer:
            self._stop.set()
            faulthandler.cancel_dump_traceback_later()

    def _watch(self) -> None:
        while not self._stop.wait(self.interval):
            beat = self.heart.beat()
            self._set_timer(beat)
            try:
                self.store.set(self._keys[self.rank], json.dumps(beat))
                if self.store.check(["hung"]):
                    return faulthandler.dump_traceback()
                if self.rank in (0, self.last) and self.store.check(self._keys):
                    self._judge()
            except RuntimeError:  # the store is gone: rank 0 has ended, and the launcher ends this one
                continue

    def _set_timer(self, beat: Beat) -> None:
        with self._timer:
            if beat.progress != self._timed and not self._stop.is_set():
                self._timed = beat.progress
                faulthandler.dump_traceback_later(1.5 * beat.limit + 5 * self.interval, exit=True)  # after `_end`

    def _judge(self) -> None:
        now = time.monotonic()
        for number, text in enumerate(self.store.multi_get(self._keys)):
            beat = Beat(*json.loads(text))
            before, came, progressed = self._seen.get(number, (None, now, now))
            if before and beat.tick != before.tick:
                came = now
            if before and beat.progress != before.progress:
                progressed = now
            self._seen[number] = beat, came, progressed
        ranks = [Observed(beat, now - came, now - progressed) for beat, came, progressed in self._seen.values()]
        found = hung(ranks, self.heart.short)
        if found and (self.rank == 0 or ranks[0].silent > self.heart.short):
            self._end(found, ranks)

    def _end(self, found: list[int], ranks: list[Observed]) -> None:
        """Say who it is, let every rank that still can print its stack, and end this process, and so the job."""
        self.say(f"error: {sentence(found, ranks, self.heart.short, self.heart.named)}")
        self.store.set("hung", "")
        faulthandler.dump_traceback()
        time.sleep(3 * self.interval)
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(1)
