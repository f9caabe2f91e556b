from pathlib import Path

import pytest
from tiny_run import tiny_held_out, tiny_recipe

from recipes.artifacts import write_json
from recipes.errors import UserError
from recipes.held_out import held_out_domains
from recipes.layout import RunFolder
from recipes.load import load_recipe
from recipes.schema import Recipe


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    run = RunFolder(tmp_path / "run")
    tiny_held_out(run)
    return run


def recipe(run: RunFolder, *overrides: str) -> Recipe:
    validation = "validation={every_iterations: 2, tokens_per_source: 9}"
    return load_recipe(str(tiny_recipe(run.root / "tiny.yaml")), [validation, *overrides])


def test_sources_without_held_out_documents_are_left_out(run: RunFolder) -> None:
    assert held_out_domains(recipe(run), run) == {"first": "counting", "second": "other", "third": "other"}


def test_what_is_missing_is_one_sentence(run: RunFolder) -> None:
    by = recipe(run, "checkpoint={every_iterations: 3, keep_best: 1, best_by: legal}")
    with pytest.raises(UserError, match=r"best_by: 'legal' has no held-out documents; choose one of \['counting', 'ot"):
        held_out_domains(by, run)
    (run.heldout / "third.bin").unlink()
    with pytest.raises(UserError, match=r"third\.bin: missing; build the shards again"):
        held_out_domains(recipe(run), run)
    write_json(run.heldout / "receipt.json", {"sources": {"laws": {"domain": "legal", "documents": 0}}})
    with pytest.raises(UserError, match="no document is held out"):
        held_out_domains(recipe(run), run)
    (run.heldout / "receipt.json").unlink()
    with pytest.raises(UserError, match=r"receipt\.json: validation needs the held-out documents"):
        held_out_domains(recipe(run), run)


def test_the_best_cannot_be_kept_without_a_validation(run: RunFolder) -> None:
    with pytest.raises(UserError, match=r"checkpoint\.keep_best needs `validation`; state that, or keep_best: 0"):
        recipe(run, "checkpoint.keep_best=1", "validation=null")
