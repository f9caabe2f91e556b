"""The arithmetic of activations and logits against the tensors that a model really keeps, counted on a CPU."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from measure_memory import LAYERS, MICRO_BATCH, SEQUENCE, SHAPE
from tiny_run import ROOT

from recipes.activations import layer_activations
from recipes.memory import rank_memory

pytestmark = pytest.mark.slow

FIELDS = ("precision", "tensor", "recompute", "chunk", "vocabulary")
CASES = [
    dict(zip(FIELDS, values, strict=True))
    for values in (
        ("32", 1, "none", None, 256),
        ("32", 1, "selective", 64, 8192),
        ("32", 2, "full", None, 8190),
        ("bf16-mixed", 1, "none", None, 8192),
        ("bf16-mixed", 1, "full", 64, 8192),
        ("bf16-mixed", 2, "selective", None, 256),
        ("bf16-mixed", 2, "none", 64, 8192),
    )
]


@pytest.fixture(scope="module")
def answers() -> list[dict[str, int]]:
    command = [sys.executable, str(Path(__file__).with_name("measure_memory.py")), json.dumps(CASES)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    answer = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return json.loads(answer.stdout.splitlines()[-1])


@pytest.fixture(params=range(len(CASES)), ids=lambda at: " ".join(map(str, CASES[at].values())))
def case(request: pytest.FixtureRequest, answers: list[dict[str, int]]) -> tuple[dict[str, Any], dict[str, int]]:
    return CASES[request.param], answers[request.param]


def test_a_layer_keeps_what_arithmetic_says_to_the_byte(case: tuple[dict[str, Any], dict[str, int]]) -> None:
    asked, found = case
    width = 2 if asked["precision"] == "bf16-mixed" else 4
    layer = layer_activations(SHAPE, SEQUENCE, MICRO_BATCH, asked["tensor"], 1, width, "plain")
    assert found["layer"] == layer.kept(asked["recompute"])


def test_the_peak_is_below_what_arithmetic_says_and_near_it(case: tuple[dict[str, Any], dict[str, int]]) -> None:
    """Below, because it adds up what is not all there at once: a layer computed again, logits, and their gradients."""
    asked, found = case
    memory = rank_memory(
        SHAPE.model_copy(update={"num_hidden_layers": LAYERS, "vocab_size": asked["vocabulary"]}),
        sequence_length=SEQUENCE,
        micro_batch=MICRO_BATCH,
        tensor=asked["tensor"],
        recompute=asked["recompute"],
        loss_chunk_tokens=asked["chunk"],
        precision=asked["precision"],
        modules="plain",
    )
    computed = memory.activations + memory.logits + memory.buffers
    assert 0.55 * computed < found["peak"] < computed
