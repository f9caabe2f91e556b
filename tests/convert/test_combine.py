"""Sums of models: their coefficients, their arithmetic, and what may not be summed."""

import math
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor

from convert.combine import Combination, ema_weights, parse_terms
from convert.export_hf import from_base, write_hf_folder
from convert.hf_folder import HfFolder
from convert.import_hf import import_hf
from convert.mapping import Slot, hf_sizes, slots
from convert.nemo_checkpoint import NemoWeights
from convert.weights import Weights
from recipes.artifacts import write_json
from recipes.errors import UserError
from recipes.shape import Qwen3Shape

SHAPE = Qwen3Shape(
    vocab_size=11,
    hidden_size=6,
    intermediate_size=5,
    num_hidden_layers=1,
    num_attention_heads=2,
    num_key_value_heads=1,
    head_dim=4,
    tie_word_embeddings=False,
    max_position_embeddings=8,
)
HALF = [torch.bfloat16, torch.float16]
DTYPES = [*HALF, torch.float32]
SETTINGS = settings(max_examples=25, deadline=None)
seeds = st.integers(0, 1000)
weights_of_three = st.lists(st.floats(-2, 2, width=16), min_size=3, max_size=3)


@dataclass
class Memory:
    """A model in memory."""

    tensors: dict[str, Tensor]
    place: str = "memory"
    shape: Qwen3Shape = SHAPE
    iteration: int | None = None
    folders: tuple[Path, ...] = ()

    @property
    def dtype(self) -> torch.dtype:
        return next(iter(self.tensors.values())).dtype

    def parts(self, slot: Slot) -> dict[str, Tensor]:
        return {name: self.tensors[name] for name in slot.hf}


def model(seed: int, dtype: torch.dtype = torch.float32, **more: object) -> Memory:
    random = torch.Generator().manual_seed(seed)
    tensors = {name: torch.randn(size, generator=random).to(dtype) for name, size in hf_sizes(SHAPE).items()}
    return Memory(tensors, **more)  # type: ignore[arg-type]


def models(seed: int, dtype: torch.dtype, count: int = 3) -> list[Memory]:
    return [model(seed * 10 + number, dtype) for number in range(count)]


def whole(source: Weights) -> dict[str, Tensor]:
    return {name: tensor for slot in slots(source.shape) for name, tensor in source.parts(slot).items()}


def same_bits(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return list(one) == list(other) and all(
        one[name].dtype == other[name].dtype and torch.equal(one[name].view(torch.uint8), other[name].view(torch.uint8))
        for name in one
    )


def exact(sources: Sequence[Memory], weights: Sequence[float]) -> dict[str, Tensor]:
    """The sum in fp64, rounded once."""
    return {
        name: sum(weight * source.tensors[name].double() for source, weight in zip(sources, weights, strict=True)).to(
            sources[0].dtype
        )
        for name in sources[0].tensors
    }


@SETTINGS
@given(seeds, st.sampled_from(DTYPES), weights_of_three.filter(lambda weights: abs(math.fsum(weights)) > 0.25))
def test_a_linear_merge_is_the_exact_sum_rounded_once(seed: int, dtype: torch.dtype, weights: list[float]) -> None:
    sources = models(seed, dtype)
    weights = [weight / math.fsum(weights) for weight in weights]
    found = whole(Combination.linear(sources, weights))
    expected = exact(sources, weights)
    # fp32 has 13 bits more than fp16: all but the sums that lie that close to the middle of two numbers are equal.
    equal = torch.cat([(found[name] == expected[name]).flatten() for name in expected])
    assert equal.float().mean() > 0.98
    one_step = torch.finfo(dtype).eps
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=one_step, atol=1e-5 if dtype in HALF else 1e-12)


@SETTINGS
@given(seeds, st.sampled_from(DTYPES), st.permutations(range(3)))
def test_order_matters_to_rounding_alone(seed: int, dtype: torch.dtype, order: list[int]) -> None:
    sources, weights = models(seed, dtype), [0.5, 0.3, 0.2]
    one = whole(Combination.linear(sources, weights))
    other = whole(Combination.linear([sources[i] for i in order], [weights[i] for i in order]))
    one_step = torch.finfo(dtype).eps
    for name, tensor in one.items():
        torch.testing.assert_close(other[name], tensor, rtol=one_step, atol=1e-6 if dtype in HALF else 1e-14)


@SETTINGS
@given(seeds, st.sampled_from(DTYPES), st.integers(0, 2))
def test_one_coefficient_of_1_gives_the_model_bit_by_bit(seed: int, dtype: torch.dtype, chosen: int) -> None:
    sources = models(seed, dtype)
    sources[chosen].tensors["model.norm.weight"][:2] = torch.tensor([-0.0, torch.finfo(dtype).smallest_normal / 4])
    weights = [float(number == chosen) for number in range(3)]
    assert same_bits(whole(Combination.linear(sources, weights)), sources[chosen].tensors)
    origin, *rest = sources
    if chosen:
        found = whole(Combination.task_arithmetic(origin, rest, weights[1:]))
        assert same_bits(found, sources[chosen].tensors)


@SETTINGS
@given(seeds, st.sampled_from(DTYPES), st.integers(1, 9))
def test_equal_models_average_to_themselves(seed: int, dtype: torch.dtype, count: int) -> None:
    source = model(seed, dtype)
    assert same_bits(whole(Combination.average([source] * count)), source.tensors)
    assert same_bits(whole(Combination.ema([source] * count, 0.9)), source.tensors)


@SETTINGS
@given(seeds, st.floats(-1, 2, width=16), st.floats(-1, 2, width=16))
def test_task_arithmetic_adds_scaled_differences(seed: int, first: float, second: float) -> None:
    origin, one, two = models(seed, torch.float32)
    found = whole(Combination.task_arithmetic(origin, [one, two], [first, second]))
    for name, tensor in origin.tensors.items():
        base = tensor.double()
        expected = base + first * (one.tensors[name].double() - base) + second * (two.tensors[name].double() - base)
        torch.testing.assert_close(found[name], expected.float(), rtol=2**-23, atol=1e-12)


@given(st.integers(1, 60), st.floats(0, 1, exclude_max=True))
def test_ema_weights_are_those_of_the_recursion(count: int, decay: float) -> None:
    weights = ema_weights(count, decay)
    assert math.fsum(weights) == pytest.approx(1, abs=1e-12)
    assert all(weight >= 0 for weight in weights)
    recursive = [1.0]
    for _ in range(count - 1):
        recursive = [decay * weight for weight in recursive] + [1 - decay]
    assert weights == pytest.approx(recursive, abs=1e-12)


def test_ema_gives_the_newest_its_share() -> None:
    old, middle, new = (model(number, place=f"step {number}") for number in range(3))
    described = Combination.ema([old, middle, new], 0.75).description
    assert described["method"] == "ema"
    assert [(term["place"], term["coefficient"]) for term in described["terms"]] == [
        ("step 0", 0.5625),
        ("step 1", 0.1875),
        ("step 2", 0.25),
    ]
    assert same_bits(whole(Combination.ema([old, middle, new], 0)), new.tensors)
    for decay in (1, -0.1, math.nan):
        with pytest.raises(UserError, match="expected a number from 0 up to but not 1"):
            Combination.ema([old, new], decay)


def test_what_the_first_model_decides() -> None:
    first = model(1, torch.bfloat16, iteration=8)
    other = model(2, torch.float32, shape=SHAPE.model_copy(update={"max_position_embeddings": 32}))
    merged = Combination.linear([first, other], [0.5, 0.5])
    assert (merged.dtype, merged.shape, merged.iteration) == (torch.bfloat16, SHAPE, 8)
    assert {tensor.dtype for tensor in whole(merged).values()} == {torch.bfloat16}
    assert Combination.task_arithmetic(other, [first], [0.5]).shape == SHAPE
    assert Combination.average([other, other]).iteration is None
    wanted = whole(Combination.average([first, first], torch.float16))
    assert {tensor.dtype for tensor in wanted.values()} == {torch.float16}


@pytest.mark.parametrize(
    ("field", "value", "remedy"),
    [
        ("vocab_size", 12, "extend the vocabulary of both alike"),
        ("tie_word_embeddings", True, "give models of one shape"),
        ("rope_theta", 5e6, "give models of one shape"),
        ("num_hidden_layers", 2, "give models of one shape"),
    ],
)
def test_another_shape_is_refused(field: str, value: object, remedy: str) -> None:
    first, other = model(1, place="cpt"), model(2, place="chat", shape=SHAPE.model_copy(update={field: value}))
    with pytest.raises(UserError, match=rf"^chat: {field} is {value}, but cpt has .*; {remedy}\.$"):
        Combination.average([first, other])


def test_weights_must_sum_to_1() -> None:
    sources = models(0, torch.float32, count=2)
    with pytest.raises(UserError, match=r"weights 0\.5, 0\.4: they sum to 0\.9, not to 1; change them\."):
        Combination.linear(sources, [0.5, 0.4])
    Combination.linear(sources, [0.5, 0.5 + 9e-7])
    for weights in ([math.nan, 1], [math.inf, -math.inf]):
        for combine in (
            Combination.linear,
            lambda models, scales: Combination.task_arithmetic(model(3), models, scales),
        ):
            with pytest.raises(UserError, match="expected finite numbers"):
                combine(sources, weights)


def test_what_does_not_fit_the_dtype_is_refused_by_name() -> None:
    large = model(1, torch.float16)
    large.tensors["model.norm.weight"][0] = 60_000
    with pytest.raises(UserError, match=r"task_arithmetic of .*: model\.norm\.weight holds NaN or infinity"):
        whole(Combination.task_arithmetic(model(2, torch.float16), [large], [2]))
    twin = model(1)
    with pytest.raises(UserError, match=r"linear of .* is all zero"):
        whole(Combination("linear", [(twin, 1), (twin, -1)]))


def test_tensors_of_one_model_at_a_time_are_held() -> None:
    held: list[weakref.ref[Tensor]] = []

    class Passing(Memory):
        def parts(self, slot: Slot) -> dict[str, Tensor]:
            assert not any(reference() is not None for reference in held)
            parts = {name: tensor.clone() for name, tensor in super().parts(slot).items()}
            held[:] = [weakref.ref(tensor) for tensor in parts.values()]
            return parts

    whole(Combination.average([Passing(each.tensors) for each in models(0, torch.bfloat16)]))
    assert held


def test_combinations_combine(tmp_path: Path) -> None:
    write_json(tmp_path / "conversion.json", {"digest": "1234"})
    one, two, three = models(5, torch.float32)
    one.place = str(tmp_path)
    inner = Combination.average([one, two])
    found = whole(Combination.linear([inner, three], [0.5, 0.5]))
    expected = exact([one, two, three], [0.25, 0.25, 0.5])
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-6, atol=1e-7)
    assert [term["digest"] for term in inner.description["terms"]] == ["1234", None]


def test_folders_and_checkpoints_merge_into_a_folder(make_model: Callable[..., Path], tmp_path: Path) -> None:
    """A chat vector: the trained checkpoint, and what an instruct model adds to the base."""
    base, trained, chat = (tmp_path / name for name in ("base", "trained", "chat"))
    for folder, change in ((base, 0.0), (trained, 0.25), (chat, -0.5)):
        tensors = make_model(dtype=torch.bfloat16, change=lambda tensors, change=change: _add(tensors, change))
        tensors.rename(folder)
    import_hf(trained, tmp_path / "nemo", verify=False)
    models = [NemoWeights(tmp_path / "nemo", HfFolder(base).shape), HfFolder(chat)]
    merged = Combination.task_arithmetic(HfFolder(base), models, [1, 1])
    write_hf_folder(merged, tmp_path / "out", from_base(chat))
    loaded = [load_file(folder / "model.safetensors") for folder in (base, trained, chat, tmp_path / "out")]
    for name, found in loaded[3].items():
        origin, one, two = (tensors[name].double() for tensors in loaded[:3])
        assert found.dtype == torch.bfloat16
        torch.testing.assert_close(found, (one + two - origin).bfloat16(), rtol=2**-8, atol=1e-6)
    described = merged.description["terms"]
    assert [term["coefficient"] for term in described] == [1, 1, -1]
    assert [term["digest"] is not None for term in described] == [True, False, False]


def _add(tensors: dict[str, Tensor], change: float) -> None:
    for tensor in tensors.values():
        tensor += change


def test_terms_of_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("step=7").mkdir()
    assert parse_terms(["a/b", "c"]) == [(Path("a/b"), None), (Path("c"), None)]
    assert parse_terms(["a=0.25", "step=7=.5", "b=-1e-1"]) == [
        (Path("a"), 0.25),
        (Path("step=7"), 0.5),
        (Path("b"), -0.1),
    ]
    assert parse_terms(["step=7"]) == [(Path("step=7"), None)]
    with pytest.raises(UserError, match=r"^c: it has no weight, but others have; give c=WEIGHT, or no weights\.$"):
        parse_terms(["a=1", "c"])
    with pytest.raises(UserError, match=r"^a=much: expected MODEL or MODEL=WEIGHT"):
        parse_terms(["a=much"])
