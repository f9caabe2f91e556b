"""What a verification found: one line per problem, with the file, the check, what was found and what to do."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple


class Problem(NamedTuple):
    """One thing that is not as it must be."""

    path: Path
    check: str  # one word: file, size, digest, …
    found: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.path}: {self.check} check: {self.found}; {self.remedy}"


@dataclass
class Report:
    """What was looked at and what was wrong with it. Warnings are worth a look, but training can do with them."""

    full: bool = False
    files: list[Path] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)

    def problem(self, path: Path, check: str, found: str, remedy: str) -> None:
        self.problems.append(Problem(path, check, found, remedy))

    def warn(self, path: Path, check: str, found: str, remedy: str) -> None:
        self.warnings.append(Problem(path, check, found, remedy))

    def content(self) -> dict[str, Any]:
        """What `--json` prints."""
        return {
            "mode": "full" if self.full else "structural",
            "ok": not self.problems,
            "files": [str(path) for path in self.files],
            "problems": _rows(self.problems),
            "warnings": _rows(self.warnings),
        }


def _rows(problems: Iterable[Problem]) -> list[dict[str, str]]:
    return [problem._asdict() | {"path": str(problem.path)} for problem in problems]
