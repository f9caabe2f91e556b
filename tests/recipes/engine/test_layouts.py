"""Twenty steps in fp32 from one Hugging Face model over the same samples: every layout gives the same curve, and so
does a plain transformers loop. Then mistakes are planted, and the comparison that the layouts pass must fail.

Context parallelism has no curve here: attention over a sequence that is spread over ranks is Transformer Engine's,
which needs a GPU, and Megatron-Core has no other. Without it the layer refuses.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import yaml
from tiny_run import ROOT, metrics, tiny_data, tiny_recipe
from torch import Tensor
from transformers import Qwen3Config, Qwen3ForCausalLM

from convert import mapping
from convert.import_hf import import_hf
from recipes.layout import RunFolder
from recipes.load import load_recipe
from recipes.shape import Qwen3Shape

pytestmark = pytest.mark.long

STEPS = 20
TP, PP = {"tensor_parallel": 2}, {"pipeline_parallel": 2}


class Case(NamedTuple):
    """A training: from which model, on how many ranks, with which fields of the phase, changed by what."""

    model: str
    ranks: int = 1
    phase: dict[str, int] = {}
    change: str | None = None  # a function of train_layouts.py


LAYOUTS = {
    "one process": Case("untied"),
    "DP2": Case("untied", 2, change="without_distributed_optimizer"),
    "DP2, distributed optimizer": Case("untied", 2),
    "TP2": Case("untied", 2, TP, "without_sequence_parallel"),
    "TP2, sequence parallel": Case("untied", 2, TP),
    "PP2": Case("untied", 2, PP),
    "TP2 x PP2": Case("untied", 4, TP | PP),
    "one process, tied": Case("tied"),
    "TP2 x PP2, tied": Case("tied", 4, TP | PP),
}
MISTAKES = {
    "up above gate": Case("up_above_gate"),
    "queries, keys, values in blocks": Case("qkv_in_blocks"),
    "norms not reduced": Case("untied", 2, TP, "norms_not_marked"),
    "query and key norms not reduced": Case("untied", 2, TP, "qk_norms_not_reduced"),
    "norms counted twice": Case("untied", 2, TP, "norms_counted_twice"),
    "embedding counted twice": Case("tied", 2, PP, "embedding_counted_twice"),
}
REFUSED = {"CP2": Case("untied", 2, {"context_parallel": 2})}


def up_above_gate(parts: Sequence[Tensor], shape: Qwen3Shape) -> Tensor:
    gate, up = parts
    return torch.cat([up, gate])


def qkv_in_blocks(parts: Sequence[Tensor], shape: Qwen3Shape) -> Tensor:
    """All queries, all keys, all values, as for a single query group."""
    return torch.cat(list(parts))


class Curve(NamedTuple):
    """Loss and gradient norm of every step."""

    losses: list[float]
    norms: list[float]

    def difference(self, other: "Curve") -> tuple[float, float]:
        """The largest of any step: of the losses, absolute, and of the norms, relative."""
        losses = np.abs(np.subtract(self.losses, other.losses)).max()  # NaN if one is
        norms = np.abs(np.divide(self.norms, other.norms) - 1).max()
        return float(losses), float(norms)

    def agrees(self, other: "Curve") -> bool:
        """Half of 1e-4 and of 1e-3, so that any two that agree with a third are within these of each other."""
        losses, norms = self.difference(other)
        return losses <= 0.5e-4 and norms <= 0.5e-3


class Trained(NamedTuple):
    """What train_layouts.py answered to each case, its curve unless that is an error; the plain loop's by model."""

    answers: dict[str, dict[str, Any]]
    curves: dict[str, Curve]
    plain: dict[str, Curve]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder, cases = tmp_path_factory.mktemp("layouts"), LAYOUTS | MISTAKES | REFUSED
    make_model(folder / "untied", tied=False)
    make_model(folder / "tied", tied=True)
    import_wrongly(folder / "untied", mapping.join_gate_up, up_above_gate)
    import_wrongly(folder / "untied", mapping.join_qkv, qkv_in_blocks)
    jobs = [make_job(folder / case.model, folder / name, case) for name, case in cases.items()]
    answered = run(Path(__file__).with_name("train_layouts.py"), json.dumps(jobs))
    answers = dict(zip(cases, answered, strict=True))
    curves = {name: curve_of(folder / name) for name, answer in answers.items() if not answer["error"]}
    return Trained(answers, curves, plain_curves(folder, "untied", "tied"))


def make_model(folder: Path, tied: bool) -> None:
    """`hf`, a model that is sure of itself and whose norms are not ones, and a run with it as the base, and samples."""
    folder.mkdir()
    shape = load_recipe(str(make_recipe(folder, tied, {}))).model.shape
    torch.manual_seed(1)
    model = Qwen3ForCausalLM(Qwen3Config(**shape.model_dump(), eos_token_id=3, bos_token_id=3))
    with torch.no_grad():
        for weight in model.parameters():
            weight.uniform_(0.5, 1.5) if weight.dim() == 1 else weight.mul_(5)
    model.save_pretrained(folder / "hf")
    (folder / "hf" / "tokenizer.json").write_text("{}")
    tiny_data(RunFolder(folder), phases=1, iterations=STEPS)
    import_hf(folder / "hf", RunFolder(folder).base_checkpoint)


def import_wrongly(right: Path, join: Callable[..., Tensor], wrong: Callable[..., Tensor]) -> None:
    """Beside the folder of the right model one of the name of `wrong`, whose base was imported by it."""
    folder = right.with_name(wrong.__name__)
    shutil.copytree(right, folder)
    rules = tuple(replace(rule, join=wrong) if rule.join is join else rule for rule in mapping.LAYER)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mapping, "LAYER", rules)
        import_hf(folder / "hf", RunFolder(folder).base_checkpoint, replace=True, verify=False)


def make_job(model: Path, folder: Path, case: Case) -> dict[str, Any]:
    shutil.copytree(model, folder)
    recipe = make_recipe(folder, case.model == "tied", case.phase)
    return {"run": str(folder), "recipe": str(recipe), "phase": 1, "ranks": case.ranks, "fault": case.change}


def make_recipe(folder: Path, tied: bool, phase: dict[str, int]) -> Path:
    path = tiny_recipe(folder / "tiny.yaml", iterations=STEPS, every=STEPS, phases=1, micro_batch_size=2, **phase)
    content = yaml.safe_load(path.read_text())
    content["model"] |= {"init": "hf", "base": str(folder / "hf")}
    content["model"]["shape"] |= {"vocab_size": 300, "tie_word_embeddings": tied}  # padded to 384
    content["optimizer"] = {"weight_decay": 0.1}
    path.write_text(yaml.safe_dump(content))
    return path


def run(program: Path, *arguments: str) -> list[Any]:
    """What it prints, from JSON."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(program), *arguments]
    answer = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600)
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout.splitlines()[-1])


def curve_of(folder: Path) -> Curve:
    lines = metrics(RunFolder(folder), 1)
    assert len(lines) == STEPS
    return Curve([line["loss"] for line in lines], [line["grad_norm"] for line in lines])


def plain_curves(folder: Path, *models: str) -> dict[str, Curve]:
    paths = [[folder / model / "hf", folder / model, folder / model / "tiny.yaml"] for model in models]
    found = run(ROOT / "tests" / "launch" / "plain_loop.py", *map(str, chain(*paths)))
    return {model: Curve(*map(list, zip(*pairs, strict=True))) for model, pairs in zip(models, found, strict=True)}


def on_one_process(trained: Trained, case: Case) -> Curve:
    return trained.curves["one process, tied" if case.model == "tied" else "one process"]


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_gives_the_curve_of_one_process(trained: Trained, name: str) -> None:
    assert trained.answers[name]["error"] is None
    expected = on_one_process(trained, LAYOUTS[name])
    assert trained.curves[name].agrees(expected), trained.curves[name].difference(expected)


@pytest.mark.parametrize("model", ["untied", "tied"])
def test_so_does_a_plain_transformers_loop(trained: Trained, model: str) -> None:
    expected = on_one_process(trained, Case(model))
    assert trained.plain[model].agrees(expected), trained.plain[model].difference(expected)


@pytest.mark.parametrize("name", MISTAKES)
def test_a_planted_mistake_does_not(trained: Trained, name: str) -> None:
    assert trained.answers[name]["error"] is None
    assert not trained.curves[name].agrees(on_one_process(trained, MISTAKES[name]))


@pytest.mark.parametrize("name", ["one process", "one process, tied"])
def test_the_model_learns_and_its_gradients_are_clipped(trained: Trained, name: str) -> None:
    """Else a wrong gradient would change no loss."""
    losses, norms = trained.curves[name]
    assert losses[-1] < losses[0] - 1
    assert min(norms) > 1


def test_the_layouts_are_what_they_are_called(trained: Trained) -> None:
    built = {
        name: (answer.get("optimizers"), answer.get("sequence_parallel")) for name, answer in trained.answers.items()
    }
    assert built["DP2"] == (["FP32Optimizer"], False)
    assert built["DP2, distributed optimizer"] == (["DistributedOptimizer"], False)
    assert built["TP2"] == (["DistributedOptimizer"], False)
    assert built["TP2, sequence parallel"] == built["TP2 x PP2"] == (["DistributedOptimizer"], True)


def test_context_parallel_is_refused_without_transformer_engine(trained: Trained) -> None:
    assert "context_parallel > 1 needs Transformer Engine" in trained.answers["CP2"]["error"]
