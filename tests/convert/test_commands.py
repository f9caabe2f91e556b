import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from convert.commands import convert_average, convert_export, convert_import, convert_merge, summary
from convert.known_card import known_card
from convert.model_card import front_matter, refresh_card
from convert.passage import QUIET
from recipes.errors import UserError
from recipes.shape import Qwen3Shape

Make = Callable[..., Path]
ALONE = {"verify": False, "progress": QUIET}
PLAIN = {"dtype": None, "card": None, **ALONE}


@pytest.fixture
def model(make_model: Make) -> Path:
    return make_model()


@pytest.fixture
def nemo(model: Path, tmp_path: Path) -> Path:
    convert_import(model, tmp_path / "nemo", None, False, **ALONE)
    return tmp_path / "nemo"


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def test_import_and_export(model: Path, tmp_path: Path, shape: Qwen3Shape) -> None:
    manifest = convert_import(model, tmp_path / "nemo", None, False, **ALONE)
    said = summary(manifest, tmp_path / "nemo")
    assert said.startswith(f"NeMo checkpoint {tmp_path / 'nemo'}: 36 tensors in float32, digest ")
    assert said.endswith(", not verified.")
    exported = convert_export(tmp_path / "nemo", tmp_path / "a", base=model, **PLAIN)
    assert exported["digest"] == manifest["digest"]
    again = convert_export(tmp_path / "nemo", tmp_path / "b", shape=shape, tokenizer=model, **PLAIN)
    assert again["digest"] == manifest["digest"]


def test_an_export_needs_a_base(nemo: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--base"):
        convert_export(nemo, tmp_path / "out", **PLAIN)


def test_the_dtype_can_be_chosen(model: Path, nemo: Path, tmp_path: Path) -> None:
    manifest = convert_export(nemo, tmp_path / "out", base=model, **(PLAIN | {"dtype": "bf16"}))
    assert manifest["dtype"] == "bfloat16"
    before, after = weights(model), weights(tmp_path / "out")
    assert all(torch.equal(before[name].bfloat16(), after[name]) for name in before)
    with pytest.raises(UserError, match="expected one of bf16, fp16, fp32"):
        convert_export(nemo, tmp_path / "other", base=model, **(PLAIN | {"dtype": "int8"}))


def test_a_checkpoint_of_two_dtypes_says_how_to_export_it(
    model: Path, of_two_dtypes: Callable[[Path], Path], tmp_path: Path
) -> None:
    folder = of_two_dtypes(model)
    said = r"expected weights in one of bf16, fp16 or fp32, found bfloat16, float32; export it with --dtype, which says"
    with pytest.raises(UserError, match=said):
        convert_export(folder, tmp_path / "out", base=model, **PLAIN)
    assert convert_export(folder, tmp_path / "out", base=model, **(PLAIN | {"dtype": "bf16"}))["dtype"] == "bfloat16"


def test_a_checkpoint_in_a_run_knows_its_base(model: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    convert_import(model, run / "base_checkpoint", None, False, **ALONE)
    trained = run / "training" / "phase_1" / "iteration_0000008"
    convert_import(model, trained, None, False, **ALONE)
    (run / "run.lock.json").write_text('{"recipe": {"name": "tiny"}, "data": {"1": "abc"}, "base": "def"}')
    manifest = convert_export(trained, tmp_path / "out", **PLAIN)
    assert {"phase": 1, "data": "abc", "base": "def"}.items() <= manifest["origin"].items()
    merged = convert_merge(tmp_path / "merged", [str(trained), str(tmp_path / "out"), str(model)], dtype=None, **ALONE)
    assert [term["origin"] for term in merged["combination"]["terms"]] == [manifest["origin"], manifest["origin"], None]


def test_without_a_recipe_the_card_says_what_run_and_base_say(model: Path, tmp_path: Path, shape: Qwen3Shape) -> None:
    run = tmp_path / "run"
    trained = run / "training" / "phase_2" / "iteration_0000008"
    convert_import(model, trained, None, False, **ALONE)
    convert_export(trained, tmp_path / "bare", base=model, **PLAIN)
    bare = (tmp_path / "bare" / "README.md").read_text()
    assert f"Weights in float32.\n{shape.parameters:,} parameters: 3 layers of width 40 (MLP 56),\n" in bare
    assert "6 query heads and 2 of keys and values, each of 24; 300 tokens,\nuntied embeddings, up to 64" in bare
    assert "- exported from: phase_2/iteration_0000008\n- base: " in bare and "run lock" not in bare
    assert front_matter(tmp_path / "bare" / "README.md").keys() == {"library_name", "pipeline_tag", "tags"}
    assert refresh_card(tmp_path / "bare", known_card(trained, model))
    assert (tmp_path / "bare" / "README.md").read_text() == bare

    (model / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    lock = {"recipe": {"name": "tiny", "model": {"hf_id": "Qwen/Qwen3-4B"}}, "data": {"2": "abc"}, "base": "def"}
    (run / "run.lock.json").write_text(json.dumps(lock))
    convert_export(trained, tmp_path / "known", base=model, **PLAIN)
    fields, text = front_matter(tmp_path / "known" / "README.md"), (tmp_path / "known" / "README.md").read_text()
    assert (fields["base_model"], fields["license"]) == ("Qwen/Qwen3-4B", "apache-2.0")
    assert "# tiny, phase 2\n" in text and "- data: abc\n- base weights: def\n- run lock: " in text
    assert str(tmp_path) not in text


def test_merges(model: Path, nemo: Path, tmp_path: Path) -> None:
    def merge(name: str, *terms: str, **options: object) -> dict[str, torch.Tensor]:
        convert_merge(tmp_path / name, terms, dtype=None, **ALONE, **options)  # type: ignore[arg-type]
        return weights(tmp_path / name)

    before = weights(model)
    for merged in (
        merge("average", str(nemo), str(model)),
        merge("linear", f"{model}=0.25", f"{nemo}=0.75"),
        merge("ema", str(model), str(nemo), ema=0.5),
        merge("chat_vector", str(nemo), str(model), origin=model),
    ):
        assert all(torch.equal(before[name], merged[name]) for name in before)
    with pytest.raises(UserError, match="neither with weights nor with --origin"):
        merge("both", f"{model}=1", ema=0.5)
    with pytest.raises(UserError, match="config and tokenizer"):
        merge("no_tokenizer", str(nemo))


def test_a_merge_with_a_base_that_contradicts_a_checkpoint_is_refused(model: Path, nemo: Path, tmp_path: Path) -> None:
    """The rotary base is in no tensor: the merge would have the base's, and compute something else."""
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"rope_theta": 123.0}))
    with pytest.raises(UserError, match=r"nemo: it was made with rope_theta 1000000\.0, but the base says 123\.0;"):
        convert_merge(tmp_path / "out", [str(nemo), str(nemo)], base=model, dtype=None, **ALONE)
    assert not (tmp_path / "out").exists()


def test_average(nemo: Path, tmp_path: Path) -> None:
    manifest = convert_average(tmp_path / "out", [nemo, nemo], ema=None, optimizer=True, progress=QUIET)
    said = "average in float32, without optimizer state, read back and compared."
    assert summary(manifest, tmp_path / "out").endswith(said)
