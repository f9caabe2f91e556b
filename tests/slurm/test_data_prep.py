"""slurm/data_prep.sbatch on a real Slurm: an array of three ranks gives what one machine gives."""

import gzip
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from slurm_cluster import FINAL, REPOSITORY

from data_prep.bundled import SAMPLE

pytestmark = pytest.mark.slurm
OPTIONS = ["--partition=main", "--array=0-2", "--cpus-per-task=1", "--time=10"]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of this repository with a corpus of twelve small files."""
    root = tmp_path / "checkout"
    for name in ("slurm", "launch", "recipes", "data_prep", "evaluation", "convert"):
        shutil.copytree(REPOSITORY / name, root / name)
    lines = gzip.decompress((SAMPLE.parent / "decisions.jsonl.gz").read_bytes()).splitlines(keepends=True)
    sources = [{"name": name, "domain": name, "language": "tr", "licence": "none", "files": []} for name in ("a", "b")]
    for number in range(12):
        file = f"{number:02d}.jsonl"
        (root / file).write_bytes(b"".join(lines[number::12]))
        sources[number % 2]["files"].append(file)
    (root / "corpus.yaml").write_text(yaml.safe_dump({"name": "made", "sources": sources, "near_duplicates": {}}))
    return root


def test_an_array_of_ranks_shares_the_work(two_nodes, checkout):
    arguments = ["--corpus", "corpus.yaml", "--run", "runs/array"]
    job = two_nodes.submit(*OPTIONS, "slurm/data_prep.sbatch", *arguments, cwd=checkout)
    ranks = [two_nodes.wait_for(f"{job}_{rank}", lambda fields: fields["JobState"] in FINAL, 120) for rank in range(3)]
    logs = [Path(fields["StdOut"]).read_text() for fields in ranks]
    assert [fields["JobState"] for fields in ranks] == ["COMPLETED"] * 3, logs
    assert any("shards in runs/array/shards" in log for log in logs), logs

    alone = ["python3", "-m", "launch.cli", "data", "prepare", "--corpus", "corpus.yaml", "--run", "runs/alone"]
    assert two_nodes.call(*alone, cwd=checkout, PYTHONPATH=str(checkout)).returncode == 0
    differing = ["diff", "-rq", "--exclude=.*", "runs/array", "runs/alone"]
    assert subprocess.run(differing, cwd=checkout, capture_output=True, text=True).stdout == ""


def test_bad_input_ends_the_rank_in_one_sentence(two_nodes, checkout):
    arguments = ["--array=0", "slurm/data_prep.sbatch", "--corpus", "none.yaml"]
    job = two_nodes.submit(*OPTIONS, *arguments, cwd=checkout)
    fields = two_nodes.wait_for(f"{job}_0", lambda fields: fields["JobState"] in FINAL, 60)
    log = Path(fields["StdOut"]).read_text()
    assert log.startswith("error: corpus file none.yaml cannot be read") and log.count("\n") == 1, log
    assert (fields["JobState"], fields["ExitCode"]) == ("FAILED", "2:0")
