import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from recipes.attempts import begin_attempt
from recipes.errors import UserError


def test_the_newest_start_may_write_and_older_ones_may_not(tmp_path: Path) -> None:
    first = begin_attempt(tmp_path / "attempts")
    first.check()
    second = begin_attempt(tmp_path / "attempts")
    second.check()
    sentence = (
        rf"^{re.escape(str(tmp_path))}: this run was started again on \S+ at \S+, so this older start, number 1, "
    )
    with pytest.raises(UserError, match=sentence):
        first.check()


def test_no_two_starts_have_one_number(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        numbers = [attempt.number for attempt in pool.map(begin_attempt, [tmp_path / "attempts"] * 64)]
    assert sorted(numbers) == list(range(1, 65))


def test_a_claim_that_could_not_be_filled_in_counts(tmp_path: Path) -> None:
    first = begin_attempt(tmp_path / "attempts")
    (tmp_path / "attempts" / "000002.json").touch()  # as a full disk leaves it
    with pytest.raises(UserError, match="this run was started again, so this older start, number 1,"):
        first.check()
    assert begin_attempt(tmp_path / "attempts").number == 3


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "attempts").write_text("a file")
    with pytest.raises(UserError, match="attempts: cannot be written"):
        begin_attempt(tmp_path / "attempts")


def test_the_job_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = begin_attempt(tmp_path / "attempts")
    monkeypatch.setitem(os.environ, "SLURM_JOB_ID", "4711")
    begin_attempt(tmp_path / "attempts")
    with pytest.raises(UserError, match="was started again by job 4711 on "):
        first.check()
