import json
import math
import shutil
from pathlib import Path
from random import Random

import pytest
import yaml
from rich.progress import Progress

from convert.model_card import front_matter, is_generated, render_card
from data_prep.mixture import build
from evaluation.results import Result, Score, write_result
from launch.card import model_card, refresh_cards
from recipes.artifacts import file_digest, read_json, write_json
from recipes.errors import UserError
from recipes.layout import RunFolder
from recipes.load import load_recipe
from recipes.schema import Recipe

DOMAINS = {"laws": "legal", "news": "general", "english": "replay"}
LANGUAGES = {"laws": "tr", "news": "tr", "english": "en"}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Shards and mixtures of three small sources; tests must not change it."""
    folder, sources = tmp_path_factory.mktemp("built"), []
    for name, domain in DOMAINS.items():
        lines = (json.dumps({"text": f"{name} {n} " + "Bu Kanun yürürlüğe girer. " * 20}) for n in range(60))
        (folder / f"{name}.jsonl").write_text("\n".join(lines), encoding="utf-8")
        entry = {"name": name, "domain": domain, "files": [f"{name}.jsonl"], "language": LANGUAGES[name]}
        sources.append(entry | {"licence": f"licence | of {name}"})
    corpus = folder / "corpus.yaml"
    corpus.write_text(yaml.safe_dump({"name": "made", "cleaning": [], "sources": sources}), encoding="utf-8")
    build(recipe_on(folder), corpus, RunFolder(folder / "run"), None, Progress(disable=True))
    return RunFolder(folder / "run")


@pytest.fixture
def run(built: RunFolder, tmp_path: Path) -> RunFolder:
    shutil.copytree(built.root, tmp_path / "run", symlinks=True)
    return RunFolder(tmp_path / "run")


def recipe_on(folder: Path) -> Recipe:
    budgets = [f"phases.{number}.token_budget=8192" for number in range(1, 5)]
    return load_recipe("qwen3_tiny", [*budgets, "max_epochs=100", f"model.base={folder / 'base'}"])


def export(run: RunFolder, recipe: Recipe, phase: int) -> Path:
    """What an export leaves, with bytes instead of weights."""
    folder = run.exported(phase)
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights of %d" % phase)
    write_json(folder / "config.json", {})
    write_json(folder / "conversion.json", {"kind": "export", "iteration": 4, "dtype": "float32"})
    card = render_card(model_card(recipe, run, phase), 4, "float32")
    (folder / "README.md").write_text(card, encoding="utf-8")
    return folder


def store_result(run: RunFolder, name: str, weights: Path | None, perplexity: float, heldout: str = "a") -> None:
    scores = {source: Score(tokens=100, bytes=400, nll=100 * math.log(perplexity)) for source in DOMAINS}
    files = [weights / "config.json", weights / "model.safetensors"] if weights else []
    digests = {path.name: file_digest(path) for path in files}
    result = Result(
        name=name,
        kind="model",
        path=None,
        parameters=1,
        inputs={"heldout": heldout, "sequence_length": 256, "weights": digests},
        versions={},
        sources=scores,
        domains={domain: scores[source] for source, domain in DOMAINS.items()},
        source_domains=DOMAINS,
    )
    write_result(run.report / "results" / f"{name}.json", result)


def test_the_card_says_what_the_run_read_and_how(run: RunFolder, tmp_path: Path) -> None:
    recipe = recipe_on(tmp_path)
    card = model_card(recipe, run, 2)
    assert card.languages == ("en", "tr")
    assert {(source.name, source.domain, source.language) for source in card.sources} == {
        (name, domain, LANGUAGES[name]) for name, domain in DOMAINS.items()
    }
    assert [phase.name for phase in card.phases] == ["1 general", "2 legal_terms"]
    for number, phase in enumerate(card.phases, 1):
        assert sum(phase.tokens.values()) == recipe.phase(number).iterations * recipe.phase(number).tokens_per_iteration
    assert card.phases[1].tokens["laws"] == pytest.approx(0.5 * 8192, abs=256)
    settings = card.phases[0].settings
    assert settings["learning rate"] == "cosine 0.001 → 0.0001"
    assert (settings["sequence length"], settings["global batch size"], settings["iterations"]) == ("256", "8", "4")
    assert card.settings["weight decay"] == "0.1" and card.settings["precision"] == "32"
    assert card.provenance["plan"] == read_json(run.plan)["digest"]
    assert card.provenance["data of phase 2"] == read_json(run.phase(2) / "blend.json")["digest"]
    assert (card.base_model, card.licence, card.scores) == (None, None, ())  # not known, so not said


def test_the_licence_is_that_of_the_base(run: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    readme = tmp_path / "base" / "README.md"
    for text, licence in (("---\nlicense: apache-2.0\n---\n", "apache-2.0"), ("no fields", None)):
        readme.write_text(text)
        assert model_card(recipe_on(tmp_path), run, 1).licence == licence


def test_the_lock_and_what_trained_are_named(run: RunFolder, tmp_path: Path) -> None:
    write_json(run.lock, {"software": {"torch": "2.13.0", "nemo-toolkit": None}})
    provenance = model_card(recipe_on(tmp_path), run, 1).provenance
    assert provenance["run lock"] == file_digest(run.lock)
    assert provenance["trained with"] == "torch 2.13.0"


def test_any_damage_to_what_the_card_is_made_of_is_one_sentence_or_harmless(run: RunFolder, tmp_path: Path) -> None:
    recipe, random = recipe_on(tmp_path), Random(1)
    write_json(run.lock, {"software": {"torch": "2.13.0", "nemo-toolkit": None}})
    write_json(run.base_checkpoint / "conversion.json", {"digest": "1234"})
    files = [run.lock, run.plan, run.phase(1) / "blend.json", run.base_checkpoint / "conversion.json"]
    for path in [*files, run.shards / "laws" / "receipt.json"]:
        whole = path.read_bytes()
        damaged = [whole[: random.randrange(len(whole))] for _ in range(10)] + [b"[]", b"{}", b'{"digest": 1}']
        for place in random.choices(range(len(whole)), k=60):
            damaged.append(whole[:place] + bytes([whole[place] ^ 1 << random.randrange(8)]) + whole[place + 1 :])
        for content in damaged:
            path.write_bytes(content)
            try:
                model_card(recipe, run, 1)
            except UserError as error:
                assert str(path) in str(error) and "\n" not in str(error)
        path.write_bytes(b"{}")
        with pytest.raises(UserError, match=r"the file is damaged, restore it: the field `\w+` is missing\.$"):
            model_card(recipe, run, 1)
        path.write_bytes(whole)
    model_card(recipe, run, 1)


def test_a_recipe_without_the_phase_is_refused(run: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"training/phase_5: recipe qwen3_tiny has 4 phases; give the recipe that"):
        model_card(recipe_on(tmp_path), run, 5)


def test_scores_come_into_the_cards_of_the_weights_that_were_scored(
    run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = recipe_on(tmp_path)
    first, second, third, fourth = (export(run, recipe, number) for number in (1, 2, 3, 4))
    refresh_cards(recipe, run)  # nothing was scored yet
    store_result(run, "base", None, 20)
    for name, folder in (("phase_1", first), ("any name", second), ("phase_3", third)):
        store_result(run, name, folder, 10)
    (third / "model.safetensors").write_bytes(b"other weights than were scored")
    edited = (second / "README.md").read_text() + "Mine.\n"
    (second / "README.md").write_text(edited)
    refresh_cards(recipe, run)
    text = (first / "README.md").read_text()
    assert is_generated(text) and "| laws | tr | 20.00 → 10.00 | 1.080 → 0.830 | −50.0 % |" in text
    index = front_matter(first / "README.md")["model-index"][0]
    assert len(index["results"]) == 2 * len(DOMAINS)
    assert (second / "README.md").read_text() == edited
    assert capsys.readouterr().out == f"{second / 'README.md'} was edited: it stays as it is.\n"
    for unscored in (third, fourth):
        assert "Not evaluated." in (unscored / "README.md").read_text()


def test_scores_on_other_text_are_refused(run: RunFolder, tmp_path: Path) -> None:
    recipe = recipe_on(tmp_path)
    folder = export(run, recipe, 1)
    before = (folder / "README.md").read_bytes()
    store_result(run, "base", None, 20, heldout="b")
    store_result(run, "phase_1", folder, 10)
    with pytest.raises(UserError, match="scored on different text"):
        refresh_cards(recipe, run)
    assert (folder / "README.md").read_bytes() == before
