"""Cross entropy against torch's, whole and split over ranks; against Megatron-Core's it is in test_fused.py."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from recipes.engine import cross_entropy as module
from recipes.engine.cross_entropy import cross_entropy

SEQUENCE, BATCH, VOCABULARY = 5, 2, 24


@pytest.fixture
def one_rank() -> Any:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield dist.group.WORLD
    dist.destroy_process_group()


def _case(dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = 5 * torch.randn(SEQUENCE, BATCH, VOCABULARY, generator=generator)
    labels = torch.randint(VOCABULARY, (SEQUENCE, BATCH), generator=generator)
    return logits.to(dtype), labels, torch.rand(SEQUENCE, BATCH, generator=generator)


def _reference(logits: Tensor, labels: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    exact = logits.float().requires_grad_()
    losses = torch.nn.functional.cross_entropy(exact.flatten(0, 1), labels.flatten(), reduction="none").view_as(labels)
    return losses.detach(), torch.autograd.grad((losses * weight).sum(), exact)[0]


@pytest.mark.parametrize(("dtype", "closeness"), [(torch.float32, 1e-6), (torch.bfloat16, 2**-8)])
def test_is_torchs_in_fp32(one_rank: Any, dtype: torch.dtype, closeness: float) -> None:
    logits, labels, weight = _case(dtype)
    expected, gradient = _reference(logits, labels, weight)
    losses = cross_entropy(logits.requires_grad_(), labels, one_rank)
    assert losses.dtype == torch.float32
    torch.testing.assert_close(losses.detach(), expected)
    (ours,) = torch.autograd.grad((losses * weight).sum(), logits)
    assert ours.dtype == dtype
    torch.testing.assert_close(ours.float(), gradient, rtol=closeness, atol=1e-6)


def test_a_row_of_minus_infinities_but_the_label_costs_nothing(one_rank: Any) -> None:
    """As the padding of a vocabulary is closed."""
    logits, labels, weight = _case(torch.float32)
    logits = torch.full_like(logits, float("-inf")).scatter(-1, labels.unsqueeze(-1), 3.0).requires_grad_()
    losses = cross_entropy(logits, labels, one_rank)
    assert torch.equal(losses.detach(), torch.zeros_like(weight))
    assert torch.equal(torch.autograd.grad(losses.sum(), logits)[0], torch.zeros_like(logits))


@pytest.mark.parametrize("ranks", [2, 3])
def test_a_vocabulary_that_is_split_over_ranks(ranks: int) -> None:
    logits, labels, weight = _case(torch.float32)
    expected, gradient = _reference(logits, labels, weight)
    store = dist.HashStore()

    def part(rank: int) -> tuple[Tensor, Tensor]:
        group = dist.ProcessGroupGloo(store, rank, ranks)
        mine = logits.chunk(ranks, dim=-1)[rank].clone().requires_grad_()
        losses = cross_entropy(mine, labels, group)
        return losses.detach(), torch.autograd.grad((losses * weight).sum(), mine)[0]

    with ThreadPoolExecutor(ranks) as pool:
        parts = list(pool.map(part, range(ranks)))
    for losses, _ in parts:
        torch.testing.assert_close(losses, expected)
    torch.testing.assert_close(torch.cat([mine for _, mine in parts], dim=-1), gradient)


@pytest.mark.slow  # loads the compiler
@pytest.mark.parametrize("name", ["_highest", "_sums", "_become_softmax_times"])
def test_torch_can_compile_it(name: str) -> None:
    logits, labels, weight = _case(torch.bfloat16)
    highest = logits.amax(-1).float()
    arguments = {
        "_highest": (logits,),
        "_sums": (logits, highest, labels),
        "_become_softmax_times": (logits, highest, (logits.float() - highest.unsqueeze(-1)).exp().sum(-1), weight),
    }[name]
    function = getattr(module, name).__wrapped__
    traced = torch.compile(function, backend="aot_eager", fullgraph=True)
    copies = [argument.clone() for argument in arguments]
    torch.testing.assert_close(traced(*copies), function(*arguments))
    torch.testing.assert_close(copies[0], logits)
