"""What the command prints and how it ends, what a path may name, and a hundred shards."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from data_prep.verify.check import check, structural
from data_prep.verify.command import verify
from recipes.errors import UserError
from recipes.layout import RunFolder

MakeRun = Callable[..., RunFolder]
app = typer.Typer()
app.command()(verify)


def call(*arguments: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    return result.exit_code, result.stdout


def test_a_sound_run_exits_with_zero(sample_phases: RunFolder) -> None:
    status, output = call(sample_phases.root, "--full")
    assert status == 0
    assert output.splitlines()[-1].endswith("0 problems, 0 warnings")


def test_problems_are_printed_a_line_each_and_the_status_is_two(run: RunFolder) -> None:
    bin_path = run.shards / "laws" / "documents.bin"
    with bin_path.open("r+b") as stream:
        stream.truncate(100)
    (run.heldout / "laws.idx").unlink()
    status, output = call(run.root)
    lines = output.splitlines()
    assert status == 2
    assert len(lines) == len(check(run.root).problems) + len(check(run.root).warnings) + 1
    assert any(line.startswith(f"problem: {bin_path}: size check: it has 100 bytes") for line in lines)
    assert all(f"remove {run.shards / 'laws'}" in line for line in lines if line.startswith("problem: "))


def test_json_says_the_same(run: RunFolder) -> None:
    (run.heldout / "laws.idx").unlink()
    status, output = call(run.root, "--json")
    content = json.loads(output)
    assert (status, content["ok"], content["mode"]) == (2, False, "structural")
    assert content["problems"] == [
        {"path": str(problem.path), "check": problem.check, "found": problem.found, "remedy": problem.remedy}
        for problem in check(run.root).problems
    ]
    assert str(run.shards / "laws" / "documents.bin") in content["files"]


@pytest.mark.parametrize(
    ("path", "also", "never"),
    [
        (".", "heldout/laws.jsonl", "none"),
        ("shards", "shards/laws/receipt.json", "heldout/laws.jsonl"),
        ("heldout", "heldout/laws.jsonl", "phases/1/laws.idx"),
        ("phases", "phases/4/blend.json", "heldout/laws.jsonl"),
        ("shards/laws", "shards/laws/documents.bin", "shards/spanish/documents.bin"),
        ("shards/laws/documents", "shards/laws/receipt.json", "shards/spanish/documents.bin"),
        ("phases/2", "shards/laws/documents.bin", "phases/1/laws.idx"),
        ("phases/2/laws.idx", "phases/2/blend.json", "phases/1/laws.idx"),
        ("heldout/laws.bin", "heldout/laws.jsonl", "phases/1/laws.idx"),
    ],
)
def test_a_path_may_name(
    path: str, also: str, never: str, sample_phases: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(sample_phases.root)
    report = check(Path(path), full=True)
    assert not report.problems
    files = {str(file.relative_to(sample_phases.root)) for file in report.files}
    assert also in files
    assert never not in files


def test_a_folder_of_datasets_is_checked_dataset_by_dataset(write_dataset: Callable[..., Path]) -> None:
    write_dataset([[1, 2]], name="a.b")
    write_dataset([[1, 2]], name="other").with_suffix(".idx").unlink()
    report = check(write_dataset([[1]]).parent)
    assert [(problem.path.name, problem.check) for problem in report.problems] == [("other.idx", "file")]
    assert len(report.files) == 6


@pytest.mark.parametrize("name", ["nothing", "nothing.bin", "shards", "text.txt"])
def test_nothing_to_verify_is_said_in_a_sentence(tmp_path: Path, name: str) -> None:
    (tmp_path / "text.txt").touch()
    (tmp_path / "shards").mkdir()
    with pytest.raises(UserError, match="expected a run folder"):
        check(tmp_path / name)


def test_the_command_module_imports_no_numpy() -> None:
    code = "import sys, data_prep.verify.command; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[3]).returncode == 0


def test_a_hundred_shards(make_run: MakeRun) -> None:
    run = make_run({f"source_{number}": [[5, 6, 7]] * 50 for number in range(100)})
    start = time.perf_counter()
    structural(run, [1])
    print(f"structural mode over 100 shards and their slices: {time.perf_counter() - start:.2f} s")
    assert len(check(run.root).files) == 1 + 100 * 6 + 2 + 100 * 2
