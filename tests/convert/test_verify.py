import io
import json
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file, save_file
from torch import Tensor

from convert.export_hf import export_hf, from_base
from convert.import_hf import import_hf
from convert.verify import Verification, difference, same_bits, verify
from recipes.errors import UserError
from recipes.shape import Qwen3Shape

Change = Callable[[dict[str, Tensor]], object]
GATE, UP = "model.layers.1.mlp.gate_proj.weight", "model.layers.1.mlp.up_proj.weight"
QUERY_NORM = "model.layers.2.self_attn.q_norm.weight"


@pytest.fixture
def model(make_model: Callable[..., Path], tmp_path: Path) -> Path:
    return make_model().rename(tmp_path / "original")


@pytest.fixture
def checkpoint(model: Path, tmp_path: Path) -> Path:
    import_hf(model, tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


def changed(model: Path, change: Change = lambda tensors: None, **config: object) -> Path:
    """A copy of a model with other tensors or another config.json."""
    folder = shutil.copytree(model, model.with_name("changed"))
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    stated = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**stated, **config}))
    return folder


def shown(found: Verification) -> str:
    console = Console(record=True, file=io.StringIO())
    found.show(console)
    return console.export_text()


def test_all_forms_of_a_model_are_equal_both_ways_round(
    model: Path, checkpoint: Path, make_model: Callable[..., Path], tmp_path: Path
) -> None:
    export_hf(checkpoint, tmp_path / "exported", from_base(model))
    import_hf(model, tmp_path / "local", local_names=True, vocabulary_multiple=512)
    sharded = make_model(shards=3)
    forms = [model, checkpoint, tmp_path / "exported", tmp_path / "local", sharded]
    for a, b in [*pairwise(forms), (sharded, checkpoint)]:
        found = verify(a, b, logits=False)
        assert found.equal and found.identical == found.tensors == 3 * 11 + 3
        assert json.loads(found.model_dump_json())["equal"] is True
    assert "the same model" in shown(found) and "36 of 36 tensors are identical in every bit" in shown(found)


@pytest.mark.parametrize("against_checkpoint", [False, True])
def test_every_difference_is_reported(model: Path, checkpoint: Path, against_checkpoint: bool) -> None:
    def change(tensors: dict[str, Tensor]) -> None:
        tensors[GATE], tensors[UP] = tensors[UP], tensors[GATE]
        tensors[QUERY_NORM][3] += 0.5
        tensors["lm_head.weight"][299, 39] = -tensors["lm_head.weight"][299, 39]

    found = verify(checkpoint if against_checkpoint else model, changed(model, change), logits=False)
    assert not found.equal and found.identical == found.tensors - 4
    assert [each.split(":")[0] for each in found.differences] == [GATE, UP, QUERY_NORM, "lm_head.weight"]
    assert found.differences[2] == f"{QUERY_NORM}: 1 of 24 weights, by up to 0.5"
    assert "1 of 12,000 weights" in shown(found)


def test_many_differences_are_counted(model: Path) -> None:
    other = changed(model, lambda tensors: [tensor.mul_(2) for tensor in tensors.values()])
    assert "and 26 more differences, 36 in all" in shown(verify(model, other, logits=False))


def test_damage_is_a_difference_and_not_the_end(model: Path, checkpoint: Path) -> None:
    def change(tensors: dict[str, Tensor]) -> None:
        tensors[GATE][0, 0] = torch.nan
        tensors["lm_head.weight"].zero_()
        tensors[QUERY_NORM][0] += 1

    found = verify(checkpoint, changed(model, change))
    assert len(found.differences) == 3 and found.logits is None
    assert f"{GATE} holds NaN" in found.differences[0]
    assert "lm_head.weight is all zero" in found.differences[2]
    assert "logits were not compared" in shown(found)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_rounding_to_a_narrower_dtype_is_no_difference(model: Path, checkpoint: Path, dtype: torch.dtype) -> None:
    def change(tensors: dict[str, Tensor]) -> None:
        tensors.update({name: tensor.to(dtype) for name, tensor in tensors.items()})

    rounded = changed(model, change)
    for a, b in ((checkpoint, rounded), (rounded, model)):
        found = verify(a, b, logits=False)
        assert found.equal and (found.identical, found.rounded) == (0, 36)
        assert 0 < found.largest_rounding <= 8 * torch.finfo(dtype).eps
    assert f"between {str(dtype)[6:]} and float32" in shown(found)
    tensors = load_file(rounded / "model.safetensors")
    tensors[QUERY_NORM][0] += 0.125
    save_file(tensors, rounded / "model.safetensors", metadata={"format": "pt"})
    assert [each.split(":")[0] for each in verify(model, rounded, logits=False).differences] == [QUERY_NORM]


def test_configurations_are_compared(model: Path, checkpoint: Path) -> None:
    other = changed(model, rope_theta=10_000.0, rms_norm_eps=1e-5, initializer_range=0.5)
    for a in (model, checkpoint):  # whose import noted the shape
        assert verify(a, other, logits=False).differences == [
            "config.json: rope_theta is 1000000.0 and 10000.0",
            "config.json: rms_norm_eps is 1e-06 and 1e-05",
        ]
    shutil.rmtree(checkpoint / "context")
    assert verify(checkpoint, other, logits=False).equal  # nothing says otherwise
    assert len(verify(checkpoint, other, base=model, logits=False).differences) == 2


def test_a_run_without_base_is_known_by_its_lock(model: Path, checkpoint: Path, tmp_path: Path) -> None:
    """It states rotary base and epsilon, and as many positions as its recipe needs."""
    shutil.rmtree(checkpoint / "context")
    trained = tmp_path / "run" / "training" / "phase_1" / "iteration_0000008"
    trained.parent.mkdir(parents=True)
    checkpoint.rename(trained)
    shape = Qwen3Shape.from_hf(json.loads((model / "config.json").read_text())).model_dump()
    lock = {"recipe": {"model": {"shape": shape | {"max_position_embeddings": 8}}}}
    (tmp_path / "run" / "run.lock.json").write_text(json.dumps(lock))
    assert verify(trained, model, logits=False).equal
    other = changed(model, rope_theta=10_000.0)
    assert verify(trained, other, logits=False).differences == ["config.json: rope_theta is 1000000.0 and 10000.0"]
    with pytest.raises(UserError, match="it was made with rope_theta"):
        verify(trained, model, base=other, logits=False)
    (tmp_path / "run" / "run.lock.json").write_text('{"recipe": {"model": {"shape": {"hidden_size": "x"}}}}')
    with pytest.raises(UserError, match=r"run\.lock\.json: its model\.shape is damaged"):
        verify(trained, model, logits=False)


def test_models_with_other_tensors_are_different(model: Path) -> None:
    other = changed(model, lambda tensors: tensors.pop("lm_head.weight"), tie_word_embeddings=True)
    found = verify(model, other)
    assert found.differences == ["config.json: tie_word_embeddings is False and True"]
    assert (found.tensors, found.logits) == (0, None)


def test_unusable_input_is_one_sentence(model: Path, checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        verify(model, tmp_path / "nowhere")
    with pytest.raises(UserError, match="give a whole NeMo checkpoint"):
        verify(model, tmp_path)
    shutil.rmtree(checkpoint / "context")
    with pytest.raises(UserError, match=r"does not say its heads; .* --base"):
        verify(checkpoint, checkpoint)
    other = changed(model, lambda tensors: tensors.pop(GATE))
    with pytest.raises(UserError, match="is absent"):
        verify(model, other)


def test_bits_tell_zeros_apart_and_differences_are_those_of_all_parts() -> None:
    zero = torch.zeros(3, dtype=torch.bfloat16)
    assert same_bits(zero, zero.clone()) and not same_bits(zero, -zero)
    a = torch.zeros(10_000, 2)
    b = a.clone()
    b[0, 0], b[9_999, 1] = 0.5, -2.0
    assert difference(a, b) == (2.0, 2)


@pytest.mark.slow
def test_the_models_are_run_as_well(model: Path, checkpoint: Path) -> None:
    found = verify(checkpoint, model, greedy_tokens=2)
    assert found.equal and found.logits is not None and found.logits.greedy_tokens == 2
    assert found.logits.peak_memory < found.logits.memory_limit
    assert "logits of 4 prompts × 17 tokens" in shown(found)
