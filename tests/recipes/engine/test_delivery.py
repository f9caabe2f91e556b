"""What training is given equals what lies in the shards: inputs, labels and loss mask, at document ends too."""

import subprocess
import sys
from pathlib import Path

import pytest
from tiny_run import ROOT, tiny_data

from recipes.layout import RunFolder


@pytest.mark.slow
def test_delivered_samples_equal_the_shards(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    tiny_data(run, phases=1)
    script = Path(__file__).with_name("check_delivery.py")
    command = [sys.executable, str(script), str(run.root)]
    answer = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert answer.stdout.splitlines()[-1] == "32 samples, every window of both sources once"
