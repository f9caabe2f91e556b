"""`python data_prep/build_mixture.py` verbatim, from anywhere, killed, on a full disk, on bad input."""

import hashlib
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "data_prep" / "build_mixture.py"


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, str(SCRIPT), *map(str, arguments)]


def call(*arguments: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), cwd=folder, capture_output=True, text=True, timeout=120)


def snapshot(root: Path) -> dict[str, str]:
    """Digest per file; where a link leads is part of it."""
    return {
        f"{path.relative_to(root)} {path.readlink() if path.is_symlink() else ''}": hashlib.sha256(
            path.read_bytes()
        ).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.name.endswith(".partial")
    }


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What all phases of the tiny recipe on the sample look like."""
    folder = tmp_path_factory.mktemp("undisturbed")
    result = call("--json", folder=folder)
    assert result.returncode == 0, result.stderr
    assert [table["number"] for table in json.loads(result.stdout)] == [1, 2, 3, 4]
    assert result.stderr == ""  # no progress bars where nobody looks
    return folder / "runs" / "qwen3_tiny"


@pytest.mark.slow
def test_the_users_words_work_verbatim(undisturbed: Path, tmp_path: Path) -> None:
    arguments = ["data_prep/build_mixture.py", "--phase", "2", "--run", str(tmp_path / "run")]
    result = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    for word in ("phase 2 legal_terms", "share asked", "share reached", "epochs", "decisions", "chinese"):
        assert word in result.stdout
    assert snapshot(tmp_path / "run" / "phases" / "2") == snapshot(undisturbed / "phases" / "2")
    again = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert "was there already" in again.stdout


def test_names_in_the_working_directory_shadow_nothing(tmp_path: Path) -> None:
    for name in ("indexed.py", "slices.py", "numpy.py", "recipes.py"):
        (tmp_path / name).write_text("raise ImportError('shadowed')")
    assert call("--help", folder=tmp_path).returncode == 0


def test_neither_torch_nor_transformers_is_imported(tmp_path: Path) -> None:
    code = "import data_prep.commands, sys; print({'torch', 'transformers', 'nemo', 'gigatoken'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert result.stdout.strip() == "set()", result.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--corpus", "none.yaml"], "none.yaml cannot be read"),
        pytest.param(["--corpus", "."], "cannot be read", marks=pytest.mark.slow),
        pytest.param(["--phase", "9"], "has no phase '9'", marks=pytest.mark.slow),
        pytest.param(["--recipe", "qwen3_tny"], "did you mean 'qwen3_tiny'", marks=pytest.mark.slow),
        (["--set", "phases.2.tokn_budget=1"], "did you mean 'token_budget'"),
        pytest.param(["--set", "phases.2.token_budget=1e9"], "phases.2.token_budget", marks=pytest.mark.slow),
    ],
)
def test_bad_input_gets_one_sentence_and_status_2(tmp_path: Path, arguments: list[str], sentence: str) -> None:
    result = call(*arguments, folder=tmp_path)
    assert result.returncode == 2
    assert sentence in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr
    assert result.stdout == ""


def test_an_unreadable_source_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "laws.jsonl.gz").symlink_to("/proc/self/mem")  # opens, and fails when read, even for root
    (tmp_path / "corpus.yaml").write_text(
        "name: broken\nsources: [{name: laws, domain: legal, files: [laws.jsonl.gz], language: tr, licence: none}]\n"
    )
    mixtures = [f"--set=phases.{number}.mixture={{legal: 1.0}}" for number in range(1, 5)]
    result = call("--corpus", "corpus.yaml", *mixtures, folder=tmp_path)
    assert (result.returncode, len(result.stderr.strip().splitlines())) == (2, 1), result.stderr
    assert "laws.jsonl.gz cannot be read" in result.stderr


@pytest.mark.slow  # a dozen starts
def test_killed_anywhere_and_run_again_gives_the_same_bytes(undisturbed: Path, tmp_path: Path) -> None:
    chance = random.Random(1)
    kills = 0
    start = time.monotonic()
    subprocess.run(command("--run", tmp_path / "warm"), check=True, capture_output=True)
    usual = time.monotonic() - start
    for _ in range(12):
        process = subprocess.Popen(
            command("--run", tmp_path / "run"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            process.wait(chance.uniform(0.2, 1.0) * usual)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills += 1
    assert kills
    result = call("--run", tmp_path / "run", folder=tmp_path)
    assert result.returncode == 0, result.stderr
    assert snapshot(tmp_path / "run") == snapshot(undisturbed)


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.slow
def test_a_full_disk_is_a_sentence_and_leaves_nothing_half_written(tiny_disk: Path, tmp_path: Path) -> None:
    result = call("--run", tiny_disk / "run", folder=tmp_path)
    assert result.returncode == 2, result.stderr
    assert "no space is left" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr
    assert not list(tiny_disk.rglob("*.partial"))
    assert not (tiny_disk / "run" / "shards" / "laws").exists()
