"""The benchmark of a GPU runs on a CPU, all but the CUDA kernels."""

import re
import subprocess
import sys

import pytest
from tiny_run import ROOT

pytestmark = pytest.mark.long

OPTIONS = (
    "--recipe qwen3_tiny --micro-batch 1,2 --peer-micro-batch 2 --accumulation 2 --steps 2 --warm-up 1 "
    "--loss-chunk-tokens 128 --recompute full --peak-tflops 1 --no-compile --profile"
)


def test_ours_and_the_plain_loop_are_measured_compared_and_profiled() -> None:
    command = [sys.executable, str(ROOT / "benchmarks/gpu_step.py"), *OPTIONS.split()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    measured = [line for line in lines if re.search(r"micro batch \d: [\d,]+ tokens/s, MFU \d+\.\d%, \d+\.\d GB", line)]
    assert [line.partition(":")[0] for line in measured] == [
        "ours, micro batch 1",
        "ours, micro batch 2",
        "transformers, micro batch 2",
    ]
    assert any(re.fullmatch(r"ours / transformers: \d+\.\d\d", line) for line in lines)
    assert sum(" ms a step" in line for line in lines) == 5
