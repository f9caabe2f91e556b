import json
from pathlib import Path

from recipes.engine.metrics_file import Tail, append_line, forget_from


def _lines(path: Path) -> list[tuple[int, int]]:
    return [(line["phase"], line["iteration"]) for line in map(json.loads, path.read_text().splitlines())]


def _write(path: Path, *pairs: tuple[int, int]) -> None:
    for phase, iteration in pairs:
        append_line(path, {"phase": phase, "iteration": iteration})


def test_forgets_what_will_be_done_again(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    _write(path, (1, 1), (1, 2), (2, 1), (2, 2), (2, 3), (3, 1))
    forget_from(path, phase=2, iteration=2)
    assert _lines(path) == [(1, 1), (1, 2), (2, 1), (2, 2)]


def test_drops_a_line_that_a_kill_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    _write(path, (1, 1))
    with path.open("a") as stream:
        stream.write('{"phase": 1, "iterat')
    forget_from(path, phase=1, iteration=1)
    assert _lines(path) == [(1, 1)]


def test_starts_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "training" / "metrics.jsonl"
    forget_from(path, phase=1, iteration=0)
    assert path.read_text() == ""


def test_a_tail_gives_every_whole_line_once(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    _write(path, (1, 1), (1, 2))
    tail = Tail(path)
    assert [line["iteration"] for line in tail.new_lines()] == [1, 2]
    with path.open("a") as stream:
        stream.write('{"phase": 1, "itera')
    assert tail.new_lines() == []
    with path.open("a") as stream:
        stream.write('tion": 3}\n')
    assert tail.new_lines() == [{"phase": 1, "iteration": 3}]
