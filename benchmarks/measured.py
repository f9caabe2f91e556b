"""Run a command as a whole process tree: wall seconds, CPU seconds, peak memory of all its processes together."""

import os
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

_POLL = 0.05  # seconds
_TICKS = os.sysconf("SC_CLK_TCK")


class Measured(NamedTuple):
    """What a command cost."""

    wall: float  # seconds
    cpu: float  # seconds, user and system, of all its processes; short by up to 0.05 s for each
    memory: int  # bytes: the most that its processes held together, mapped files not counted


def measure(command: Sequence[str], **environment: str) -> Measured:
    """Run `command`; raises CalledProcessError if it fails. Modules are compiled once, as after an installation."""
    settings = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    start = time.perf_counter()
    process = subprocess.Popen(command, env={**settings, **environment})
    watcher = _Watcher(process)
    watcher.start()
    code = process.wait()
    wall = time.perf_counter() - start
    watcher.join()
    if code:
        raise subprocess.CalledProcessError(code, command)
    return Measured(wall, sum(watcher.cpu.values()), watcher.memory)


class _Watcher(threading.Thread):
    """Looks at the process and its descendants again and again: nobody counts workers that are no children of it."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        super().__init__(daemon=True)
        self._process = process
        self.cpu: dict[int, float] = {}
        self.memory = 0

    def run(self) -> None:
        while self._process.poll() is None:
            family = _family(self._process.pid)
            self.memory = max(self.memory, sum(map(_anonymous_memory, family)))
            self.cpu |= {pid: seconds for pid in family if (seconds := _cpu_seconds(pid))}
            time.sleep(_POLL)


def _family(pid: int) -> list[int]:
    found, todo = [], [pid]
    while todo:
        found.append(todo.pop())
        for task in Path("/proc", str(found[-1]), "task").glob("*/children"):
            todo += map(int, _read(task).split())
    return found


def _anonymous_memory(pid: int) -> int:
    """Bytes of memory that no file backs; pages that processes share after a fork count in each: sums err upwards."""
    lines = _read(Path("/proc", str(pid), "status")).splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:"))


def _cpu_seconds(pid: int) -> float:
    fields = _read(Path("/proc", str(pid), "stat")).rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS if fields else 0.0


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # it has ended
        return ""
