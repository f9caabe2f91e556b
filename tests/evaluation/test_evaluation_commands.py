import json
import subprocess
import sys

import invented_run
import numpy as np
import pytest

from evaluation import commands
from evaluation.heldout import encode, load_tokenizer
from recipes.errors import UserError
from recipes.layout import RunFolder
from recipes.load import load_recipe
from recipes.plan import SourceSize, make_plan


@pytest.fixture
def recipe():
    return load_recipe("qwen3_tiny", ["evaluation.tokens_per_source=300", "evaluation.sequence_length=32"])


@pytest.fixture
def models(make_model):
    return {"base": make_model("base"), "phase_1": make_model("phase_1", seed=1)}


def damage(folder):
    (folder / "model.safetensors").write_bytes(b"no weights")


def test_what_is_done_is_not_done_again(models, heldout, recipe, tmp_path, monkeypatch):
    first = commands.evaluate(models, heldout, recipe, tmp_path / "out")
    assert [result.name for result in first] == ["base", "phase_1"]
    monkeypatch.setattr("evaluation.perplexity.load_model", None)
    assert commands.evaluate(models, heldout, recipe, tmp_path / "out") == first


@pytest.mark.parametrize("what", ["weights", "text", "recipe"])
def test_other_inputs_are_scored_again(models, make_model, heldout, recipe, tmp_path, what):
    (before,) = commands.evaluate({"base": models["base"]}, heldout, recipe, tmp_path / "out")
    if what == "weights":
        make_model("base", seed=7)
    elif what == "text":
        (heldout / "new.jsonl").write_text('{"text": "yeni bir metin", "source": "new", "domain": "legal"}\n')
    else:
        recipe = load_recipe("qwen3_tiny", ["evaluation.tokens_per_source=300", "evaluation.sequence_length=16"])
    (after,) = commands.evaluate({"base": models["base"]}, heldout, recipe, tmp_path / "out")
    assert after.domains != before.domains


def test_models_with_different_tokenizers_do_not_compare(models, heldout, recipe, tmp_path):
    path = models["phase_1"] / "tokenizer.json"
    content = json.loads(path.read_text())
    content["model"]["merges"] = content["model"]["merges"][:5]
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match="base and phase_1 were scored on different text, tokens or windows"):
        commands.evaluate(models, heldout, recipe, tmp_path / "out")


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (damage, "cannot be loaded"),
        (lambda folder: (folder / "tokenizer.json").unlink(), r"expected a tokenizer\.json"),
        (lambda folder: (folder / "config.json").write_text("{}"), "cannot be loaded"),
    ],
)
def test_broken_models_are_one_sentence(models, heldout, recipe, tmp_path, edit, message):
    edit(models["phase_1"])
    with pytest.raises(UserError, match=message) as caught:
        commands.evaluate(models, heldout, recipe, tmp_path / "out")
    assert "\n" not in str(caught.value)


def test_no_models_and_unusable_names(models, heldout, recipe, tmp_path):
    with pytest.raises(UserError, match="at least one model"):
        commands.evaluate({}, heldout, recipe, tmp_path)
    with pytest.raises(UserError, match="cannot be a file name"):
        commands.evaluate({"../base": models["base"]}, heldout, recipe, tmp_path)


def test_the_trigram_scores_the_same_tokens(models, heldout, recipe, documents, tmp_path):
    out = tmp_path / "out"
    (model,) = commands.evaluate({"base": models["base"]}, heldout, recipe, out)
    ids = encode(documents, load_tokenizer(models["base"]), "<|endoftext|>").ids
    arguments = ({"all": "digest"}, models["base"], heldout, recipe, out)
    trigram = commands.evaluate_trigram(ids, *arguments)
    for domain, score in model.domains.items():
        assert (trigram.domains[domain].tokens, trigram.domains[domain].bytes) == (score.tokens, score.bytes)
    assert trigram.domains["legal"].perplexity < 20 < model.domains["legal"].perplexity
    assert commands.evaluate_trigram(iter([np.array([1])]), *arguments) == trigram  # not trained again


def test_a_run_becomes_a_report(models, heldout, recipe, tmp_path):
    run = RunFolder(tmp_path / "run")
    commands.evaluate(models, heldout, recipe, run.report)
    run.training.mkdir(parents=True)
    run.metrics.write_text("".join(step.model_dump_json() + "\n" for step in invented_run.steps()))
    sizes = [SourceSize(name, domain, 500_000) for name, domain in invented_run.DOMAINS.items()]
    run.plan.write_text(json.dumps({**make_plan(recipe, sizes).model_dump(mode="json"), "shards": {}}))
    run.heldout.mkdir()
    (run.heldout / "receipt.json").write_text(json.dumps({"sources": invented_run.DOMAINS}))
    for size in sizes:
        (run.shards / size.name).mkdir(parents=True)
        receipt = {"source": size.name, "domain": size.domain, "tokens": size.tokens}
        (run.shards / size.name / "receipt.json").write_text(json.dumps(receipt))
    page = commands.report(recipe, run).read_text(encoding="utf-8")
    assert page.count('src="data:image/svg+xml') == 3


def test_a_report_without_results_is_one_sentence(recipe, tmp_path):
    with pytest.raises(UserError, match="expected the result of 'base'"):
        commands.report(recipe, RunFolder(tmp_path))


def test_importing_is_light():
    modules = "commands, heldout, metrics, ngram, perplexity, plots, report, results"
    heavy = "print([m for m in ('torch', 'transformers', 'matplotlib', 'tokenizers') if m in sys.modules])"
    code = f"import sys; from evaluation import {modules}; {heavy}"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
