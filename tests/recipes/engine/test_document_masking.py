"""Document masking: a packed document computes what it computes alone in every layout, and training goes on so."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_run import GLOBAL_BATCH, ROOT, SEPARATOR, SEQUENCE, VOCABULARY, metrics, tiny_data, tiny_recipe

from data_prep.indexed import ShardWriter
from recipes.artifacts import write_json
from recipes.layout import RunFolder

pytestmark = pytest.mark.long

LAYOUTS: dict[str, dict[str, Any]] = {
    "one process": {},
    "data parallel": {"ranks": 2},
    "tensor and sequence parallel": {"ranks": 2, "tensor_parallel": 2},
    "pipeline parallel": {"ranks": 2, "pipeline_parallel": 2},
    "full recomputation": {"recompute": "full"},
    "selective, pipeline parallel": {"ranks": 2, "pipeline_parallel": 2, "recompute": "selective"},
}
TWO_SAMPLES: dict[str, dict[str, Any]] = {  # in a micro batch: a mean over them weights tokens by their number
    "two samples": {"micro_batch_size": 2},
    "two samples, all together": {
        "micro_batch_size": 2,
        "ranks": 2,
        "tensor_parallel": 2,
        "recompute": "full",
        "loss_chunk_tokens": 10,
    },
}
FAULTS: dict[str, dict[str, Any]] = {
    "borders_of_samples_alone": {},
    "borders_on_the_first_stage_alone": {"ranks": 2, "pipeline_parallel": 2},
}
PACKS = [[20, 11], [32], [31], [2, 3, 4]]  # tokens of the documents in each; one of 32 goes on behind its end


def _packs(folder: Path) -> None:
    """A best-fit mixture, as data_prep writes it."""
    folder.mkdir()
    rows = np.full((len(PACKS), SEQUENCE), -1, np.int32)
    for row, lengths in zip(rows, PACKS, strict=True):
        row[: sum(lengths)] = np.arange(sum(lengths)) + 4
        ends = np.cumsum(lengths)
        row[ends[ends < SEQUENCE] - 1] = SEPARATOR
    with ShardWriter(folder / "packs", np.dtype("<i4")) as writer:
        writer.append(rows.ravel(), np.full(len(PACKS), SEQUENCE))
    blend = {
        "prefixes": ["packs"],
        "sequence_length": SEQUENCE,
        "global_batch_size": len(PACKS),
        "iterations": 1,
        "packing": "best_fit",
        "seed": 7,
        "separator_id": SEPARATOR,
        "vocab_size": VOCABULARY,
        "digest": "packs",
    }
    write_json(folder / "blend.json", blend)


class Done:
    """Trainings by name, each in a run folder of its own, and the answers of `mask_documents.py`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.jobs: list[dict[str, Any]] = []
        self.answers: dict[str, Any] = {}

    def run(self, name: str) -> RunFolder:
        return RunFolder(self.folder / name / "run")

    def add(self, name: str, phase: int, fault: str | None = None, ranks: int = 1, **fields: Any) -> None:
        recipe = self.folder / name / "tiny.yaml"
        recipe.parent.mkdir(exist_ok=True)
        tiny_recipe(recipe, every=8, **fields)
        job = {"run": str(self.run(name).root), "recipe": str(recipe), "phase": phase, "ranks": ranks, "fault": fault}
        self.jobs.append(job)

    def train(self, packs: Path) -> None:
        command = [
            sys.executable,
            str(Path(__file__).with_name("mask_documents.py")),
            json.dumps(self.jobs),
            str(packs),
        ]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        answer = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=900)
        assert answer.returncode == 0, answer.stdout + answer.stderr
        self.answers = json.loads(answer.stdout.splitlines()[-1])

    def differences(self, name: str) -> list[float]:
        """Of the logits of every document, as the last rank found them."""
        last = max(self.run(name).metrics.parent.glob("differences_*.json"))
        return json.loads(last.read_text())

    def figures(self, name: str) -> list[float]:
        return [line[figure] for line in metrics(self.run(name), 2) for figure in ("loss", "grad_norm")]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    done = Done(tmp_path_factory.mktemp("runs"))
    tiny_data(done.run("first"))
    _packs(done.folder / "packs")
    done.add("first", 1, document_masking=True)
    for name, fields in {**LAYOUTS, **TWO_SAMPLES, **FAULTS}.items():
        done.add(name, 2, fault=name if name in FAULTS else None, document_masking=True, **fields)
    done.train(done.folder / "packs")
    return done


@pytest.mark.parametrize("name", [*LAYOUTS, *TWO_SAMPLES])
def test_a_packed_document_has_the_logits_that_it_has_alone(done: Done, name: str) -> None:
    assert len(done.differences(name)) == 7
    assert max(done.differences(name)) < 1e-5


@pytest.mark.parametrize("name", FAULTS)
def test_a_document_that_sees_another_is_noticed(done: Done, name: str) -> None:
    differences = done.differences(name)
    assert max(differences[0], differences[4]) < 1e-5  # the first of a sample, which sees no other anyway
    assert min(differences[1:4] + differences[5:]) > 1e-3


@pytest.mark.parametrize("name", [*LAYOUTS, *TWO_SAMPLES])
def test_every_layout_trains_alike(done: Done, name: str) -> None:
    one = "two samples" if name in TWO_SAMPLES else "one process"
    assert len(done.figures(name)) == 2 * 8
    assert done.figures(name) == pytest.approx(done.figures(one), rel=2e-5)


def test_training_notices_a_mask_that_is_not_there(done: Done) -> None:
    assert done.figures("borders_of_samples_alone") != pytest.approx(done.figures("one process"), rel=1e-3)


def test_nothing_ends_in_an_error(done: Done) -> None:
    assert [answer["error"] for answer in done.answers["jobs"]] == [None] * len(done.jobs)


def _positions(tokens: list[int]) -> list[int]:
    positions, position = [], 0
    for token in tokens:
        positions.append(position)
        position = 0 if token == SEPARATOR else position + 1
    return positions


def test_positions_start_again_and_separators_have_no_loss(done: Done) -> None:
    samples = done.answers["samples"]["masked"]
    assert len(samples) == 8 * GLOBAL_BATCH
    for sample, plain in zip(samples, done.answers["samples"]["plain"], strict=True):
        assert sample["position_ids"] == _positions(sample["tokens"])
        assert sample["loss_mask"] == [float(token != SEPARATOR) for token in sample["tokens"]]
        assert (plain["tokens"], plain["labels"]) == (sample["tokens"], sample["labels"])
        assert plain["position_ids"] == list(range(SEQUENCE))
        assert plain["loss_mask"] == [1.0] * SEQUENCE


def test_padding_is_a_document_of_its_own_without_loss(done: Done) -> None:
    read = {tuple(sample["position_ids"]): sample["loss_mask"] for sample in done.answers["packs"]}
    assert len(read) == len(PACKS)
    for lengths in PACKS:
        padding = SEQUENCE - sum(lengths)
        losses = [loss for length in lengths for loss in [1.0] * (length - 1) + [0.0]]
        assert read[tuple(position for length in (*lengths, padding) for position in range(length))] == (
            losses + [0.0] * padding
        )


def test_through_the_interface_of_transformer_engine_it_is_the_same_attention(done: Done) -> None:
    assert max(done.answers["kernels"]["engine"]) < 1e-5


def test_the_kernel_for_gpus_takes_the_call(done: Done) -> None:
    assert done.answers["kernels"]["shapes"] == [24, 4, 64]


def test_the_kernel_for_gpus_agrees(done: Done) -> None:
    if done.answers["kernels"]["flash"] is None:
        pytest.skip("needs a GPU")
    assert max(done.answers["kernels"]["flash"]) < 0.1


@pytest.mark.parametrize(
    ("cluster", "masking", "sentence"),
    [
        ("mn5", "true", "document_masking needs whole documents on a rank, so context_parallel must be 1"),
        ("local", "false", "phase general: context_parallel (2) needs Transformer Engine, and GPUs for it"),
    ],
)
def test_context_parallelism_is_refused(cluster: str, masking: str, sentence: str) -> None:
    show = "from launch.recipe_command import app; from recipes.terminal import run_command; run_command(app)"
    settings = ["--set", f"phases.1.document_masking={masking}", "--set", "phases.1.context_parallel=2"]
    command = [sys.executable, "-c", show, "show", "qwen3_1p7b", "--cluster", cluster, "--phase", "1", *settings]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    answer = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert (answer.returncode, answer.stdout) == (2, "")
    assert sentence in answer.stderr
