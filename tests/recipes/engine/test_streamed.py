import weakref
from collections import Counter

import pytest
import torch
from torch import Tensor, nn

from recipes.engine.streamed import streamed


class Toy(nn.Module):
    """A tied head used as a module, a second use of the embedding outside of it, a scale, and a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 4)
        self.blocks = nn.Sequential(*(nn.Linear(4, 4) for _ in range(3)))
        self.norm = nn.LayerNorm(4)
        self.head = nn.Linear(4, 7, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        hidden = self.norm(self.blocks(self.embedding(tokens)))
        return self.head(hidden) + hidden @ self.embedding.weight.T


@pytest.fixture
def stored() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return {name: tensor.detach() for name, tensor in Toy().named_parameters()}


def on_meta() -> Toy:
    with torch.device("meta"):
        return Toy().eval()


TOKENS = torch.tensor([[1, 6, 0], [3, 3, 2]])


@torch.no_grad()
def test_computes_what_the_whole_model_computes_and_keeps_nothing(stored: dict[str, Tensor]) -> None:
    whole, model = Toy().eval(), on_meta()
    whole.load_state_dict({**stored, "head.weight": stored["embedding.weight"]})
    reads = Counter[str]()

    def read(name: str) -> Tensor:
        reads[name] += 1
        return stored[name]

    with streamed(model, read, ["embedding.weight"]):
        assert torch.equal(model(TOKENS), whole(TOKENS))
        assert torch.equal(model(TOKENS[:1]), whole(TOKENS[:1]))
    assert reads == {name: 1 if name == "embedding.weight" else 2 for name in stored}
    assert all(parameter.is_meta for parameter in model.parameters())
    assert model.head.weight is model.embedding.weight
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


@torch.no_grad()
def test_one_module_at_a_time_has_its_parameters_in_fp32(stored: dict[str, Tensor]) -> None:
    model = on_meta()
    seen: dict[str, weakref.ref[Tensor]] = {}
    still_there = []

    def read(name: str) -> Tensor:
        still_there.append({each.rpartition(".")[0] for each, parameter in seen.items() if parameter() is not None})
        return stored[name].double()

    def note(module: nn.Module, *call: object) -> None:
        assert all(parameter.dtype == torch.float32 for parameter in module.parameters())
        seen.update((name, weakref.ref(each)) for name, each in model.named_parameters() if not each.is_meta)

    with streamed(model, read, ["embedding.weight"]):
        for module in (*model.blocks, model.norm):
            module.register_forward_pre_hook(note)
        model(TOKENS)
    assert seen.keys() == {*stored, "head.weight"}
    assert len(still_there) == len(stored)
    assert all(len(modules - {"embedding", "head"}) <= 1 for modules in still_there)


def test_a_failed_pass_leaves_the_model_empty(stored: dict[str, Tensor]) -> None:
    model = on_meta()
    with pytest.raises(KeyError), streamed(model, {"embedding.weight": stored["embedding.weight"]}.__getitem__):
        model(TOKENS)
    assert all(parameter.is_meta for parameter in model.parameters())


def test_a_tensor_of_another_size_is_our_own_mistake(stored: dict[str, Tensor]) -> None:
    model = on_meta()
    other = stored | {"norm.bias": torch.zeros(4, 1)}
    with pytest.raises(AssertionError, match=r"norm\.bias: \[4, 1\], not"), streamed(model, other.__getitem__):
        model(TOKENS)
