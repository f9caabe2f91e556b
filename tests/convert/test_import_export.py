import contextlib
import errno
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from convert import nemo_writer
from convert.export_hf import Surroundings, export_hf, from_base
from convert.hf_folder import HfFolder
from convert.import_hf import import_hf
from convert.mapping import slots, to_megatron
from convert.model_card import Card, Phase, Source
from convert.nemo_checkpoint import NemoCheckpoint
from convert.nemo_writer import write_checkpoint
from recipes.artifacts import matching_receipt, read_json
from recipes.engine.hf_config import hf_config
from recipes.errors import UserError
from recipes.shape import Qwen3Shape

Make = Callable[..., Path]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("local_names", [True, False])
def test_round_trip_is_bit_identical(
    make_model: Make, tmp_path: Path, shape: Qwen3Shape, dtype: torch.dtype, tied: bool, local_names: bool
) -> None:
    model = make_model(shape.model_copy(update={"tie_word_embeddings": tied}), dtype)
    imported = import_hf(model, tmp_path / "nemo", local_names=local_names)
    exported = export_hf(tmp_path / "nemo", tmp_path / "out", from_base(model))
    before, after = load_file(model / "model.safetensors"), load_file(tmp_path / "out" / "model.safetensors")
    assert before.keys() == after.keys()
    assert ("lm_head.weight" in after) is not tied
    assert all(torch.equal(before[name], after[name]) and before[name].dtype == after[name].dtype for name in before)
    assert imported["digest"] == exported["digest"]
    assert read_json(tmp_path / "out" / "config.json")["torch_dtype"] == str(dtype).removeprefix("torch.")


@pytest.mark.parametrize("multiple", [1, 128, 256])
def test_vocabulary_padding_is_added_and_trimmed(
    make_model: Make, tmp_path: Path, shape: Qwen3Shape, multiple: int
) -> None:
    model = make_model()
    import_hf(model, tmp_path / "nemo", vocabulary_multiple=multiple)
    embedding = NemoCheckpoint(tmp_path / "nemo").read(next(iter(slots(shape))))
    assert len(embedding) == {1: 300, 128: 384, 256: 512}[multiple]
    assert not embedding[300:].any()
    export_hf(tmp_path / "nemo", tmp_path / "out", from_base(model))
    assert len(HfFolder(tmp_path / "out").tensor("lm_head.weight")) == 300


def test_an_export_is_complete(make_model: Make, tmp_path: Path) -> None:
    model = make_model(dtype=torch.float32)
    import_hf(model, tmp_path / "nemo", inputs={"from": "here"})
    assert matching_receipt(tmp_path / "nemo" / "conversion.json", {"from": "here"})
    (model / "LICENSE").write_text("the base's licence")
    sources = (Source("laws", "legal", "tr", "public domain"),)
    phases = (Phase("1", {"laws": 5}, {}),)
    card = Card(base_model="Qwen/Qwen3-4B", languages=("tr",), licence="apache-2.0", sources=sources, phases=phases)
    manifest = export_hf(tmp_path / "nemo", tmp_path / "out", from_base(model), dtype=torch.bfloat16, card=card)
    out = tmp_path / "out"
    assert read_json(out / "generation_config.json")["temperature"] == 0.6
    assert (out / "tokenizer.json").read_bytes() == (model / "tokenizer.json").read_bytes()
    text = (out / "README.md").read_text()
    assert text.startswith("---\nbase_model: Qwen/Qwen3-4B\nlanguage:\n- tr\nlicense: apache-2.0\n")
    assert "| laws | legal | tr | public domain | 5 (100.0 %) |" in text
    assert (out / "LICENSE").read_text() == "the base's licence"
    assert read_json(out / "conversion.json") == manifest
    assert manifest["dtype"] == "bfloat16" and HfFolder(out).dtype == torch.bfloat16


def test_export_without_a_base(make_model: Make, tmp_path: Path, shape: Qwen3Shape) -> None:
    model = make_model()
    import_hf(model, tmp_path / "nemo")
    export_hf(tmp_path / "nemo", tmp_path / "out", Surroundings(shape, tokenizer=model))
    assert HfFolder(tmp_path / "out").shape == shape
    assert read_json(tmp_path / "out" / "config.json")["eos_token_id"] == 7
    assert read_json(tmp_path / "out" / "generation_config.json") == {"_from_model_config": True, "eos_token_id": 7}


@pytest.mark.parametrize(
    "update",
    [
        {"num_hidden_layers": 2},
        {"hidden_size": 48},
        {"tie_word_embeddings": True},
        {"vocab_size": 400},
        {"num_key_value_heads": 3},
    ],
)
def test_another_shape_is_refused(make_model: Make, tmp_path: Path, shape: Qwen3Shape, update: dict[str, Any]) -> None:
    model = make_model()
    other = shape.model_copy(update=update)
    with pytest.raises(UserError, match=next(iter(update))):
        import_hf(model, tmp_path / "nemo", shape_expected=other)
    import_hf(model, tmp_path / "nemo", shape_expected=shape)
    with pytest.raises(UserError, match="give the base it comes from"):
        export_hf(tmp_path / "nemo", tmp_path / "out", Surroundings(other, model))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("value", "said"), [(0.0, "is all zero"), (torch.nan, "NaN"), (torch.inf, "infinity")])
def test_a_damaged_checkpoint_is_not_exported(
    make_model: Make, tmp_path: Path, shape: Qwen3Shape, value: float, said: str
) -> None:
    source = HfFolder(make_model())
    written = []
    for slot in slots(shape):
        tensor = to_megatron(slot, [source.tensor(name) for name in slot.hf], shape, 384)
        written.append((slot, torch.full_like(tensor, value) if "lm_head.weight" in slot.hf else tensor))
    (tmp_path / "nemo").mkdir()
    write_checkpoint(tmp_path / "nemo", written, shape.num_hidden_layers)
    with pytest.raises(UserError, match=said):
        export_hf(tmp_path / "nemo", tmp_path / "out", from_base(source.root))
    assert {path.name for path in tmp_path.iterdir()} == {"model", "nemo"}


def test_an_occupied_target_is_kept_unless_asked(make_model: Make, tmp_path: Path) -> None:
    model, out = make_model(), tmp_path / "out"
    out.mkdir()
    (out / "precious").touch()
    for convert in (lambda: import_hf(model, out), lambda: export_hf(tmp_path / "nemo", out, from_base(model))):
        import_hf(model, tmp_path / "nemo", replace=True)
        with pytest.raises(UserError, match="the target is not an empty folder"):
            convert()
    assert (out / "precious").exists()
    with pytest.raises(UserError, match="holds the source"):
        import_hf(model, tmp_path, replace=True)
    import_hf(model, out, replace=True)
    assert not (out / "precious").exists()


def test_a_full_disk_is_one_sentence(make_model: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    model = make_model()
    monkeypatch.setattr(nemo_writer.torch, "save", full)
    with pytest.raises(UserError, match="no space is left"):
        import_hf(model, tmp_path / "nemo")
    assert {path.name for path in tmp_path.iterdir()} == {"model"}


def test_what_the_disk_changed_is_noticed(make_model: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_model()
    read = NemoCheckpoint.read

    def flipped(self: NemoCheckpoint, slot: Any) -> torch.Tensor:
        return read(self, slot) + (slot.layer == 1)

    monkeypatch.setattr(NemoCheckpoint, "read", flipped)
    with pytest.raises(UserError, match="reads back other than it was written"):
        import_hf(model, tmp_path / "nemo")
    assert not (tmp_path / "nemo").exists()


def test_a_base_without_tokenizer_is_refused(make_model: Make, tmp_path: Path) -> None:
    model = make_model()
    import_hf(model, tmp_path / "nemo")
    with pytest.raises(UserError, match=r"no tokenizer\.json"):
        export_hf(tmp_path / "nemo", tmp_path / "out", replace(from_base(model), tokenizer=tmp_path))


def test_a_base_needs_positions_for_the_longest_sequence_only(
    make_model: Make, tmp_path: Path, shape: Qwen3Shape
) -> None:
    model = make_model()
    for more, name in ((-1, "nemo"), (1, "other")):
        needed = shape.model_copy(update={"max_position_embeddings": shape.max_position_embeddings + more})
        with contextlib.nullcontext() if more < 0 else pytest.raises(UserError, match="max_position_embeddings"):
            import_hf(model, tmp_path / name, shape_expected=needed)


def test_rotary_base_is_written_for_every_version_of_transformers(make_model: Make, tmp_path: Path) -> None:
    model = make_model()
    config = read_json(model / "config.json")
    del config["rope_theta"]  # as transformers 5 saves it
    config["rope_parameters"] = {"rope_theta": 123456.0, "rope_type": "default"}
    (model / "config.json").write_text(json.dumps(config))
    import_hf(model, tmp_path / "nemo")
    export_hf(tmp_path / "nemo", tmp_path / "out", from_base(model))
    for folder in (tmp_path / "nemo" / "context", tmp_path / "out"):
        written = read_json(folder / "config.json")
        assert written["rope_theta"] == written["rope_parameters"]["rope_theta"] == 123456.0
    assert hf_config(model).rope_theta == 123456.0


@pytest.mark.parametrize(("field", "value"), [("vocab_size", 280), ("rope_theta", 123.0), ("rms_norm_eps", 1e-3)])
def test_a_base_that_contradicts_the_checkpoint_is_refused(
    make_model: Make, tmp_path: Path, field: str, value: float
) -> None:
    """An extended vocabulary would lose its end; rotary base and epsilon are in no tensor that could contradict."""
    model = make_model()
    import_hf(model, tmp_path / "nemo")
    config = read_json(model / "config.json")
    (model / "config.json").write_text(json.dumps(config | {field: value}))
    with pytest.raises(UserError, match=f"it was made with {field} .*, but the base says {value}"):
        export_hf(tmp_path / "nemo", tmp_path / "out", from_base(model))


def test_what_appears_in_the_target_meanwhile_is_kept(make_model: Make, tmp_path: Path) -> None:
    model, out = make_model(), tmp_path / "out"
    out.mkdir()

    def meanwhile(*args: Any) -> dict[str, Any]:
        (out / "precious").touch()
        return {}

    with pytest.raises(UserError, match="cannot be written"):
        import_hf(model, out, compare=meanwhile)
    assert [path.name for path in out.iterdir()] == ["precious"]


def test_a_link_to_a_folder_is_followed_and_another_file_is_refused(make_model: Make, tmp_path: Path) -> None:
    model, scratch = make_model(), tmp_path / "scratch"
    scratch.mkdir()
    (tmp_path / "link").symlink_to(scratch)
    import_hf(model, tmp_path / "link")
    assert (tmp_path / "link").is_symlink() and (scratch / "weights").is_dir()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="not an empty folder"):
        import_hf(model, tmp_path / "pipe")


def test_the_current_folder_is_a_place_like_any_other(
    make_model: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, here = make_model(), tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    import_hf(model, Path())
    monkeypatch.chdir(here)  # it was replaced
    export_hf(Path(), tmp_path / "out", from_base(model))
    assert (tmp_path / "out" / "model.safetensors").is_file()


def test_an_interrupted_checkpoint_is_known_through_a_link(make_model: Make, tmp_path: Path) -> None:
    import_hf(make_model(), tmp_path / "step")
    (tmp_path / "step-unfinished").touch()
    (tmp_path / "latest").symlink_to("step")
    for path in (tmp_path / "latest", tmp_path / "step" / "weights"):
        with pytest.raises(UserError, match="interrupted"):
            NemoCheckpoint(path)


def test_numbers_too_large_for_a_dtype_are_refused(make_model: Make, tmp_path: Path) -> None:
    model = make_model(change=lambda tensors: tensors["model.norm.weight"].fill_(1e6))
    import_hf(model, tmp_path / "nemo")
    with pytest.raises(UserError, match=r"model\.norm\.weight is too large for torch\.float16; write bf16 or fp32"):
        export_hf(tmp_path / "nemo", tmp_path / "out", from_base(model), dtype=torch.float16)


def test_a_tokenizer_beyond_the_vocabulary_is_refused(make_model: Make, tmp_path: Path) -> None:
    model = make_model()
    import_hf(model, tmp_path / "nemo")
    (model / "tokenizer.json").write_text('{"model": {"vocab": {"a": 0, "b": 300}}}')
    with pytest.raises(UserError, match="tokens beyond the model's 300"):
        export_hf(tmp_path / "nemo", tmp_path / "out", from_base(model))
