"""`training/metrics.jsonl`: one JSON object per line, appended while a run goes on, cut back where it starts again."""

import json
from pathlib import Path
from typing import Any

from recipes.artifacts import atomic_file


def append_line(path: Path, line: dict[str, Any]) -> None:
    """Append one JSON object; a line that a kill left without its end is dropped by `forget_from` later."""
    with path.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(line, ensure_ascii=False) + "\n")


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Every line but what a kill left without its end; none if there is no file."""
    return [json.loads(text) for text in _whole_lines(path)]


def forget_from(path: Path, phase: int, iteration: int) -> None:
    """Remove the lines of `phase` after `iteration`, of later phases, and half-written ones: they will come again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = [text for text in _whole_lines(path) if _before(json.loads(text), phase, iteration)]
    with atomic_file(path) as partial:
        partial.write_text("".join(kept), encoding="utf-8")


def _before(line: dict[str, Any], phase: int, iteration: int) -> bool:
    return (line["phase"], line["iteration"]) <= (phase, iteration)


def _whole_lines(path: Path) -> list[str]:
    if not path.is_file():
        return []
    return [text for text in path.read_text(encoding="utf-8").splitlines(keepends=True) if text.endswith("\n")]


class Tail:
    """Reads a metrics file from its beginning, and then what has come since."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = 0  # bytes

    def new_lines(self) -> list[dict[str, Any]]:
        """Whole lines that were not given before."""
        with self.path.open("rb") as stream:
            stream.seek(self._offset)
            content = stream.read()
        whole = content[: content.rfind(b"\n") + 1]
        self._offset += len(whole)
        return [json.loads(text) for text in whole.splitlines()]
