import copy

import pytest
import torch

from recipes.engine.adam import GroupStepAdam


def _steps(
    optimizer: torch.optim.Optimizer, parameter: torch.nn.Parameter, gradients: list[torch.Tensor]
) -> torch.Tensor:
    for gradient in gradients:
        parameter.grad = gradient
        optimizer.step()
    return parameter.detach().clone()


@pytest.fixture
def gradients() -> list[torch.Tensor]:
    torch.manual_seed(0)
    return [torch.randn(3, 5) for _ in range(4)]


def test_follows_torch_adamw(gradients: list[torch.Tensor]) -> None:
    hyper = {"lr": 0.1, "weight_decay": 0.1, "betas": (0.9, 0.95), "eps": 1e-8}
    ours, theirs = (torch.nn.Parameter(torch.ones(3, 5)) for _ in range(2))
    after = _steps(GroupStepAdam([ours], **hyper), ours, gradients)
    torch.testing.assert_close(after, _steps(torch.optim.AdamW([theirs], **hyper), theirs, gradients))


def test_state_survives_saving(gradients: list[torch.Tensor]) -> None:
    through, resumed = (torch.nn.Parameter(torch.ones(3, 5)) for _ in range(2))
    expected = _steps(GroupStepAdam([through]), through, gradients)
    first = GroupStepAdam([resumed])
    _steps(first, resumed, gradients[:2])
    second = GroupStepAdam([resumed])
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert second.param_groups[0]["step"] == 2  # a number in the group, as Megatron-Core's sharded state wants it
    assert torch.equal(_steps(second, resumed, gradients[2:]), expected)


def test_parameters_without_gradient_stay() -> None:
    parameter = torch.nn.Parameter(torch.ones(2))
    GroupStepAdam([parameter]).step()
    assert torch.equal(parameter, torch.ones(2))
