"""The other side of `serve_forked.py`: many tiny trainings after one import of NeMo."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from tiny_run import ROOT, tiny_recipe

from recipes.layout import RunFolder

KEPT = {"checkpoint": {"every_iterations": 2, "keep_last": 9}}


class Forked:
    """One process that has imported NeMo and forks the ranks of every job (`serve_forked.py`)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        command = [sys.executable, str(Path(__file__).with_name("serve_forked.py"))]
        environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
        self.errors = (folder / "errors.txt").open("w")
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": self.errors}
        self.process = subprocess.Popen(command, env=environment, text=True, start_new_session=True, **pipes)

    def train(self, run: RunFolder, recipe: Path, ranks: int = 2, **job: Any) -> dict[str, Any]:
        """Train phase 1; returns what became of it."""
        run.training.mkdir(parents=True, exist_ok=True)
        job |= {"run": str(run.root), "recipe": str(recipe), "phase": 1, "ranks": ranks, "notes": str(self.folder)}
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, (self.folder / "errors.txt").read_text()
        answer: dict[str, Any] = json.loads(line)
        return answer

    def left(self) -> list[int]:
        """The processes of its jobs that still live."""
        found = []
        for path in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):  # it has ended meanwhile
                state, _, _, session, *_ = path.read_text().rpartition(")")[2].split()  # proc(5)
                if session == str(self.process.pid) and state != "Z":
                    found.append(int(path.parent.name))
        return [pid for pid in found if pid != self.process.pid]

    def end(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.errors.close()


def recipe_file(path: Path, changes: dict[str, Any] = KEPT, **phase: Any) -> Path:
    content = yaml.safe_load(tiny_recipe(path, phases=1, **phase).read_text())
    path.write_text(yaml.safe_dump(content | changes))
    return path
