"""Tasks over processes: order of the start, errors, killed workers."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from data_prep.tokenize_part import work
from data_prep.turn import Turn
from data_prep.workers import _PRELOADED, Pool
from recipes.errors import UserError

_turns: list[Turn] = []


def keep(turn: Turn | None = None) -> None:
    _turns[:] = [turn] if turn else []


def double(number: int) -> int:
    return 2 * number


def write_in_turn(task: tuple[int, int]) -> list[int] | None:
    number, size = task
    time.sleep(0.05 if number % 2 == 0 else 0)  # odd parts are ready first
    return _turns[0].take(number, [size, 1])


def fail_at_two(number: int) -> list[int] | None:
    if number == 2:
        _turns[0].fail()
        raise UserError("part 2 cannot be read.")
    return _turns[0].take(number, [1])


def touch(folder: Path, number: int) -> None:
    (folder / str(number)).touch()


def die(number: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("workers", [1, 3])
def test_every_task_comes_back_with_its_result(workers: int) -> None:
    with Pool(workers, keep) as pool:
        assert sorted(pool.run(double, range(10))) == [(number, 2 * number) for number in range(10)]


@pytest.mark.parametrize("workers", [1, 3])
def test_places_follow_the_order_of_the_parts(workers: int) -> None:
    turn = Turn(2)
    sizes = [5, 0, 7, 3, 11, 2]
    with Pool(workers, keep, turn) as pool:
        for _ in range(2):  # two files, one after the other
            turn.reset()
            places = dict(pool.run(write_in_turn, list(enumerate(sizes))))
            found = [places[task] for task in enumerate(sizes)]
            assert found == [[sum(sizes[:number]), number] for number in range(len(sizes))]


def test_nobody_waits_for_a_part_that_failed() -> None:
    turn = Turn(1)
    with pytest.raises(UserError, match="part 2 cannot be read"), Pool(2, keep, turn) as pool:
        list(pool.run(fail_at_two, range(6)))


def test_a_killed_worker_is_a_sentence() -> None:
    with pytest.raises(UserError, match=r"one of 2 .* was killed.*fewer --workers"), Pool(2, keep) as pool:
        list(pool.run(die, range(4)))


def test_tasks_start_while_others_are_made(tmp_path: Path) -> None:
    def tasks() -> Iterator[int]:
        yield 1
        patience = time.monotonic() + 60
        while not (tmp_path / "1").exists():  # which the first one makes
            assert time.monotonic() < patience
            time.sleep(0.01)
        yield 2

    with Pool(2, keep) as pool:
        assert sorted(pool.run(partial(touch, tmp_path), tasks())) == [(1, None), (2, None)]


def test_what_workers_are_given_to_do_imports_little() -> None:
    modules = f"{work.__module__}, {', '.join(_PRELOADED[1:])}"
    program = f"import sys, {modules}; print([name for name in ('pydantic', 'rich', 'yaml') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.slow
def test_workers_do_not_import_the_command(tmp_path: Path) -> None:
    command = tmp_path / "command.py"
    command.write_text(
        "from data_prep.workers import Pool\n"
        "print(__name__)\n"
        "if __name__ == '__main__':\n"
        "    with Pool(2, dict) as pool:\n"
        "        print(sorted(pool.run(abs, [-1, -2])))\n"
    )
    done = subprocess.run([sys.executable, command], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["__main__", "[(-2, 2), (-1, 1)]"]
