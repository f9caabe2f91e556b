import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

from convert.export_hf import export_hf, from_base
from convert.hf_folder import HfFolder
from convert.import_hf import import_hf
from convert.logits import LogitReport, Request, Side, compare, compare_logits, same_logits, tolerance_for
from convert.logits_process import continue_greedily, megatron_names, prompt_tokens
from convert.mapping import slots
from convert.nemo_checkpoint import NemoWeights
from recipes.errors import UserError
from recipes.shape import Qwen3Shape

SCRIPT = Path(__file__).with_name("answer_requests.py")
Change = Callable[[dict[str, Tensor]], object]


def random_logits(vocabulary: int = 11) -> Tensor:
    return torch.randn(3, 6, vocabulary, generator=torch.Generator().manual_seed(1))


def test_the_same_logits_are_equal() -> None:
    report = compare(random_logits(), random_logits() + 1e-5, 2, 1e-4)
    assert report.equal and report.near_ties == 0
    assert report.max_abs_difference == pytest.approx(1e-5, rel=0.1)
    assert report.tolerance == pytest.approx(1e-4 * random_logits().abs().max().item(), rel=1e-3)
    assert "at most 1.0e-05 apart" in report.sentence() and "are the same" in report.sentence()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2), st.integers(0, 5), st.integers(0, 10), st.sampled_from([1.0, -1.0, torch.inf, torch.nan]))
def test_one_other_logit_is_found_at_its_place(prompt: int, position: int, token: int, by: float) -> None:
    other = random_logits()
    other[prompt, position, token] += by
    report = compare(random_logits(), other, 2, 1e-4)
    assert not report.equal
    assert report.first_difference == (prompt, position)
    assert (report.max_abs_difference is None) is (by not in (1.0, -1.0))
    LogitReport.model_validate_json(report.model_dump_json())


def test_a_near_tie_may_be_broken_either_way_and_a_clear_choice_may_not() -> None:
    a = torch.zeros(1, 4, 5)
    a[..., 2], a[..., 3] = 1.0, 1.0 - 1e-5
    b = a.clone()
    b[0, 3, 3] = 1.0 + 1e-5
    report = compare(a, b, 1, 1e-4)
    assert report.equal and report.near_ties == 1
    a[0, 3, 3] = 0.9
    assert not compare(a, b, 1, 1e-4).greedy_equal
    b[0, 2, 3] = 1.0 + 1e-5  # before the last position: part of the prompt, where nothing was chosen
    assert compare(a, b, 1, 1e-4).near_ties == 0


def test_greedy_tokens_are_those_of_the_last_logits() -> None:
    table = torch.randn(7, 7, generator=torch.Generator().manual_seed(0))
    prompt = prompt_tokens(7, 2, 3)
    tokens, logits = continue_greedily(lambda tokens: table[tokens], prompt, 4)
    assert torch.equal(tokens[:, :3], prompt) and tokens.shape == (2, 6)
    assert torch.equal(tokens[:, 3:], logits[:, 2:5].argmax(-1))
    assert torch.equal(logits, table[tokens])


@given(st.integers(1, 200_000))
@settings(max_examples=20, deadline=None)
def test_prompts_depend_on_the_vocabulary_alone(vocabulary: int) -> None:
    tokens = prompt_tokens(vocabulary, 4, 16)
    assert tokens.shape == (4, 16) and tokens.min() >= 0 and tokens.max() < vocabulary
    assert torch.equal(tokens, prompt_tokens(vocabulary, 4, 16))


def test_only_a_change_of_dtype_widens_the_tolerance() -> None:
    assert tolerance_for(torch.bfloat16, torch.bfloat16) == tolerance_for(torch.float32, torch.float32) == 1e-4
    assert tolerance_for(torch.float32, torch.bfloat16) == tolerance_for(torch.bfloat16, torch.float16) == 0.05
    assert tolerance_for(torch.float16, torch.float32) < 0.01


def test_megatron_numbers_the_layers(shape: Qwen3Shape) -> None:
    names = [name for slot in slots(shape) for name in megatron_names(slot)]
    assert len(names) == len(set(names))
    assert {"decoder.layers.2.input_layernorm.weight", "decoder.layers.2.self_attention.linear_qkv.weight"} < {*names}


# From here on models are run.


@pytest.fixture
def trained(make_model: Callable[..., Path], tmp_path: Path, shape: Qwen3Shape) -> Callable[..., Path]:
    """trained(name, dtype, **fields of the shape) -> Hugging Face folder with weights of the size of trained ones."""

    def size(tensors: dict[str, Tensor]) -> None:
        for name, tensor in tensors.items():
            tensor.mul_(0.03 if "embed" in name else 0.2) if tensor.dim() > 1 else tensor.mul_(0.1).add_(1)

    def make(name: str, dtype: torch.dtype = torch.float32, **fields: object) -> Path:
        return make_model(shape.model_copy(update=fields), dtype, change=size).rename(tmp_path / name)

    return make


def changed(model: Path, name: str, change: Change = lambda tensors: None, **config: object) -> Path:
    """A copy of a model with other tensors or another config.json."""
    folder = shutil.copytree(model, model.with_name(name))
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    stated = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**stated, **config}))
    return folder


def swap(tensors: dict[str, Tensor], one: str, other: str) -> None:
    tensors[one], tensors[other] = tensors[other], tensors[one]


def roll_heads(tensors: dict[str, Tensor], name: str) -> None:
    tensors[name] = tensors[name].roll(24, 0)


LAYER = "model.layers.1."
FAULTS: dict[str, Change] = {
    "gate and up": lambda t: swap(t, f"{LAYER}mlp.gate_proj.weight", f"{LAYER}mlp.up_proj.weight"),
    "query heads": lambda t: roll_heads(t, f"{LAYER}self_attn.q_proj.weight"),
    "key heads": lambda t: roll_heads(t, f"{LAYER}self_attn.k_proj.weight"),
    "query and key norm": lambda t: swap(t, f"{LAYER}self_attn.q_norm.weight", f"{LAYER}self_attn.k_norm.weight"),
    "norms of the layer": lambda t: swap(
        t, f"{LAYER}input_layernorm.weight", f"{LAYER}post_attention_layernorm.weight"
    ),
    "one weight of a norm": lambda t: t["model.norm.weight"][5:6].add_(0.01),
    "one row of the head": lambda t: t["lm_head.weight"][299].mul_(1.01),
}


def side(path: Path, megatron: bool) -> Side:
    """A NeMo checkpoint takes the shape of the model it was imported from."""
    config = path if (path / "config.json").is_file() else path.with_name(path.name.removesuffix(".nemo"))
    shape = Qwen3Shape.from_hf(json.loads((config / "config.json").read_text()))
    return Side(path=path, framework="megatron" if megatron else "transformers", shape=shape)


def nemo(model: Path, **options: object) -> Path:
    import_hf(model, model.with_name(f"{model.name}.nemo"), **options)  # type: ignore[arg-type]
    return model.with_name(f"{model.name}.nemo")


@pytest.mark.slow
def test_every_form_of_a_model_says_the_same_and_every_fault_is_heard(
    trained: Callable[..., Path], of_two_dtypes: Callable[[Path], Path], tmp_path: Path
) -> None:
    original, tied = trained("original"), trained("tied", torch.bfloat16, tie_word_embeddings=True)
    one_group = trained("one group", num_attention_heads=5, num_key_value_heads=1, head_dim=16, rope_theta=1e4)
    checkpoint, narrow = nemo(original), trained("narrow", vocab_size=257)
    rounded = changed(
        original, "rounded", lambda tensors: tensors.update({name: t.bfloat16() for name, t in tensors.items()})
    )
    same = {
        "untied, fp32": (side(checkpoint, True), side(original, False)),
        "tied, bf16, local names": (side(nemo(tied, local_names=True), True), side(tied, False)),
        "one group": (side(nemo(one_group, vocabulary_multiple=512), True), side(one_group, False)),
        "no padding in the checkpoint": (side(nemo(narrow, vocabulary_multiple=1), True), side(narrow, False)),
        "through the mapping": (side(tied, True), side(tied, False)),
        "the other way round": (side(original, False), side(checkpoint, True)),
        "rounded": (side(checkpoint, True), side(rounded, False)),
        "two dtypes": (
            side(checkpoint, True).model_copy(update={"path": of_two_dtypes(original)}),
            side(original, False),
        ),
    }
    faulty = {name: changed(original, name, change) for name, change in FAULTS.items()}
    faulty["rope"] = changed(original, "rope", rope_theta=10_000.0)
    faulty["eps"] = changed(original, "eps", rms_norm_eps=1e-5)
    different = {name: (side(checkpoint, True), side(folder, False)) for name, folder in faulty.items()}
    reports = dict(zip([*same, *different], answers(tmp_path, [*same.values(), *different.values()]), strict=True))
    assert {name: reports[name].equal for name in reports} == {name: name in same for name in reports}
    for name, report in reports.items():
        assert report.max_abs_logit and report.max_abs_logit > 0.5, name
        assert report.max_abs_difference is not None
        if name in same:
            assert (report.max_abs_difference > 1e-3) is (name in ("rounded", "two dtypes")), name
        assert report.peak_memory <= report.memory_limit, name


def answers(folder: Path, sides: list[tuple[Side, Side]]) -> list[LogitReport]:
    requests = [Request(a=a, b=b, prompts=2, prompt_tokens=8, greedy_tokens=3) for a, b in sides]
    (folder / "requests.json").write_text(json.dumps([request.model_dump(mode="json") for request in requests]))
    environment = {**os.environ, "PYTHONPATH": str(SCRIPT.parents[2]), "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, str(SCRIPT), str(folder / "requests.json")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    return [LogitReport.model_validate(each) for each in json.loads((folder / "requests.json").read_text())]


@pytest.mark.long
def test_a_conversion_that_says_other_things_is_refused(trained: Callable[..., Path], tmp_path: Path) -> None:
    model = trained("model")
    checkpoint = NemoWeights(nemo(model), HfFolder(model).shape)
    export_hf(checkpoint.checkpoint.folder, tmp_path / "out", from_base(model))
    damaged = changed(tmp_path / "out", "damaged", FAULTS["gate and up"])
    with pytest.raises(
        UserError, match=r"converted, its logits of 4 prompts × 19 tokens .* first exceeded in prompt 0"
    ):
        same_logits(checkpoint, damaged)


@pytest.mark.slow
def test_what_the_process_cannot_read_is_one_sentence(make_model: Callable[..., Path]) -> None:
    model = side(make_model(), False)
    cut = model.path / "model.safetensors"
    cut.write_bytes(cut.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"^comparing logits: .*model\.safetensors: not a whole safetensors file"):
        compare_logits(Request(a=model, b=model))
