"""What looks at a training sees what `cpt evaluate` and transformers see afterwards, and changes nothing in it."""

import json
import random
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import yaml
from forked import Forked
from test_resume import kill_point
from tiny_run import SEPARATOR, VOCABULARY, metrics, tiny_data, tiny_held_out, tiny_recipe, tiny_tokenizer
from transformers import AutoModelForCausalLM

from convert.export_hf import Surroundings, export_hf
from data_prep.indexed import read_document, read_index, read_tokens
from evaluation.heldout import Document, Encoded
from evaluation.perplexity import document_nll, load_model
from launch.lock import hold_lock
from recipes.artifacts import read_json
from recipes.checkpoints import find_damage, whole_checkpoints
from recipes.layout import RunFolder
from recipes.load import load_recipe

PROMPTS = ["w7 w8 w9", "w40"]
OBSERVED = {
    "validation": {"every_iterations": 2, "tokens_per_source": 1000},
    "samples": {"every_iterations": 3, "prompts": PROMPTS, "new_tokens": 5},
    "checkpoint": {"every_iterations": 2, "keep_last": 1, "keep_best": 1, "best_by": "other"},
}
PLAIN = {"checkpoint": {"every_iterations": 2, "keep_last": 9}}
DOMAINS = {"first": "counting", "second": "other", "third": "other"}


class Run(NamedTuple):
    """A finished training of eight iterations."""

    folder: RunFolder
    recipe: Path
    said: list[str]
    answer: dict[str, Any] = {}

    @property
    def curve(self) -> list[dict[str, Any]]:
        return [line for line in metrics(self.folder, 1) if "loss" in line]

    @property
    def validations(self) -> list[dict[str, Any]]:
        return [line for line in metrics(self.folder, 1) if "validation" in line]

    @property
    def samples(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.folder.samples.read_text().splitlines()]

    @property
    def weights(self) -> dict[str, bytes]:
        folder = self.folder.checkpoints(1) / "iteration_0000008" / "weights"
        return {path.name: path.read_bytes() for path in folder.glob("*.distcp")}


def make_recipe(path: Path, tokenizer: Path, changes: dict[str, Any], **phase: Any) -> Path:
    content = yaml.safe_load(tiny_recipe(path, phases=1, **phase).read_text())
    path.write_text(yaml.safe_dump(content | {"tokenizer": {"path": str(tokenizer)}} | changes))
    return path


def make_run(folder: Path, forked: Forked, changes: dict[str, Any]) -> Run:
    folder.mkdir()
    recipe = make_recipe(folder / "tiny.yaml", tiny_tokenizer(folder / "tokenizer"), changes)
    run = RunFolder(folder / "run")
    tiny_data(run, phases=1)
    tiny_held_out(run)
    hold_lock(run, load_recipe(str(recipe)), [1])
    return train(forked, run, recipe)


def train(forked: Forked, run: RunFolder, recipe: Path, ranks: int = 2) -> Run:
    answer = forked.train(run, recipe, ranks=ranks)
    assert answer["status"] == [0] * ranks, answer
    return Run(run, recipe, answer["said"], answer)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, forked: Forked) -> Run:
    return make_run(tmp_path_factory.mktemp("runs") / "plain", forked, PLAIN)


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory, forked: Forked) -> Run:
    return make_run(tmp_path_factory.mktemp("runs") / "observed", forked, OBSERVED)


@pytest.fixture(scope="module")
def exported(observed: Run) -> Path:
    shape = load_recipe(str(observed.recipe)).model.shape
    out = observed.recipe.with_name("hf")
    tokenizer = observed.recipe.with_name("tokenizer")
    export_hf(observed.folder.checkpoints(1) / "best", out, Surroundings(shape, tokenizer))
    return out


@pytest.mark.slow
def test_observing_changes_no_bit_of_the_training(plain: Run, observed: Run) -> None:
    assert observed.curve == plain.curve
    assert observed.weights == plain.weights


@pytest.mark.slow
def test_the_loss_is_that_of_an_evaluation_of_the_export(observed: Run, exported: Path) -> None:
    documents, ids = [], []
    for source, domain in DOMAINS.items():
        prefix = observed.folder.heldout / source
        index = read_index(prefix, whole=False)
        for number in range(len(index.lengths)):
            tokens = read_document(read_tokens(prefix, index), index, number)
            documents.append(Document("", source, domain))
            ids.append(tokens[:-1].astype(np.int64))
    assert max(map(len, ids)) > 64  # three windows
    nll = document_nll(load_model(exported, "cpu"), Encoded(documents, ids, SEPARATOR, VOCABULARY), 32)
    found = observed.validations[-1]
    assert found["iteration"] == 8
    for key, labels in (
        ("validation", [document.domain for document in documents]),
        ("validation_sources", [document.source for document in documents]),
    ):
        for name, loss in found[key].items():
            mine = np.array(labels) == name
            tokens = sum(len(one) for one, own in zip(ids, mine, strict=True) if own)
            assert loss == pytest.approx(nll[mine].sum() / tokens, abs=1e-5), name
    assert set(found["validation"]) == {"counting", "other"}
    assert found["validation_mean"] == pytest.approx(nll.sum() / sum(map(len, ids)), abs=1e-5)


@pytest.mark.slow
def test_samples_are_what_transformers_generates(observed: Run, exported: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(exported, dtype=torch.float32)
    last = [line for line in observed.samples if line["iteration"] == 8]
    assert [line["prompt"] for line in last] == PROMPTS
    for line in last:
        prompt = torch.tensor([[int(word[1:]) for word in line["prompt"].split()]])
        generated = model.generate(prompt, max_new_tokens=5, do_sample=False, eos_token_id=SEPARATOR)[
            0, prompt.size(1) :
        ]
        expected = [f"w{number}" for number in generated.tolist() if number != SEPARATOR]
        assert line["text"].split() == expected


@pytest.mark.slow
def test_it_looks_at_the_start_then_when_due_and_at_the_end(observed: Run) -> None:
    assert [line["iteration"] for line in observed.validations] == [0, 2, 4, 6, 8]
    assert [line["iteration"] for line in observed.samples] == [0, 0, 3, 3, 6, 6, 8, 8]
    said = [line for line in observed.said if "validation:" in line]
    assert len(said) == 5 and "perplexity" in said[0] and ", -" in said[-1] and ", -" not in said[0]
    assert len([line for line in observed.said if "sample: w40 →" in line]) == 4


@pytest.mark.slow
def test_the_best_checkpoint_stays(observed: Run) -> None:
    losses = {line["iteration"]: line["validation"]["other"] for line in observed.validations if line["iteration"]}
    best = min(losses, key=lambda iteration: losses[iteration])
    kept = dict(whole_checkpoints(observed.folder.checkpoints(1)))
    assert set(kept) == {best, 8}
    assert [find_damage(path) for path in kept.values()] == [None] * len(kept)
    assert read_json(kept[best] / "validation.json")["domains"]["other"] == losses[best]
    assert (observed.folder.checkpoints(1) / "best").resolve() == kept[best]
    assert f"has the lowest validation loss, {losses[best]:.4f} on other held-out text" in observed.said[-1]


@pytest.mark.slow
def test_after_a_kill_nothing_is_lost_or_noted_twice(observed: Run, forked: Forked, tmp_path: Path) -> None:
    """Killed when the base was validated and a sample of it written; and in the middle, behind a validation."""
    run = RunFolder(tmp_path / "run")
    shutil.copytree(observed.folder.root, run.root, symlinks=True)
    shutil.rmtree(run.checkpoints(1))
    for file, lines in ((run.metrics, 1), (run.samples, 1)):
        file.write_text("".join(file.read_text().splitlines(keepends=True)[:lines]))
    recipe = make_recipe(tmp_path / "tiny.yaml", observed.recipe.with_name("tokenizer"), OBSERVED)
    whole = Run(run, recipe, [])
    answer = forked.train(run, recipe, fault="die_after_five_iterations")
    assert -9 in answer["status"]
    assert [line["iteration"] for line in whole.validations] == [0, 2, 4]
    train(forked, run, recipe)
    assert metrics(run, 1) == metrics(observed.folder, 1)
    assert run.samples.read_text() == observed.folder.samples.read_text()
    assert whole.weights == observed.weights


@pytest.mark.long
def test_killed_anywhere_it_ends_with_the_same_notes_and_checkpoints(
    observed: Run, forked: Forked, tmp_path: Path
) -> None:
    points = random.Random(6)
    run = RunFolder(tmp_path / "run")
    tiny_data(run, phases=1)
    tiny_held_out(run)
    killed = 0
    while killed < 8:
        answer = forked.train(run, observed.recipe, kill=kill_point(points, observed.answer))
        killed += 1
        if answer["status"] == [0, 0]:
            shutil.rmtree(run.training)
        else:
            assert -9 in answer["status"], answer
    train(forked, run, observed.recipe)
    assert metrics(run, 1) == metrics(observed.folder, 1)
    assert run.samples.read_text() == observed.folder.samples.read_text()
    assert Run(run, observed.recipe, []).weights == observed.weights
    names = {path.name for path in run.checkpoints(1).iterdir()}
    assert names == {path.name for path in observed.folder.checkpoints(1).iterdir()}


@pytest.mark.long
@pytest.mark.parametrize(
    ("ranks", "layout"),
    [
        (1, {}),
        (4, {}),
        (2, {"tensor_parallel": 2, "micro_batch_size": 2}),
        (2, {"pipeline_parallel": 2, "document_masking": True}),
        (4, {"tensor_parallel": 2, "pipeline_parallel": 2, "loss_chunk_tokens": 8, "recompute": "full"}),
    ],
)
def test_every_layout_sees_the_same(
    plain: Run, observed: Run, forked: Forked, tmp_path: Path, ranks: int, layout: dict[str, Any]
) -> None:
    """At iteration 4 of a run that nobody observed before."""
    run = RunFolder(tmp_path / "run")
    shutil.copytree(plain.folder.root, run.root, symlinks=True)
    for iteration in (6, 8):
        shutil.rmtree(run.checkpoints(1) / f"iteration_{iteration:07d}")
    changes = OBSERVED | {"samples": {**OBSERVED["samples"], "every_iterations": 4}}
    recipe = make_recipe(tmp_path / "tiny.yaml", observed.recipe.with_name("tokenizer"), changes, **layout)
    found = train(forked, run, recipe, ranks)
    first, expected = found.validations[0], observed.validations[2]
    assert first["iteration"] == expected["iteration"] == 4
    for key in ("validation", "validation_sources"):
        assert first[key] == pytest.approx(expected[key], abs=1e-5)
    assert [line["iteration"] for line in found.samples] == [4, 4, 8, 8]
    if not layout.get("document_masking"):  # which trains on other losses
        assert found.validations[-1]["validation"] == pytest.approx(observed.validations[-1]["validation"], abs=1e-4)
        assert found.samples[-2:] == observed.samples[-2:]
