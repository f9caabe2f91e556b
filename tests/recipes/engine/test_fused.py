"""Against Megatron-Core's own, on a CPU; that torch can compile them, by tracing them into one graph."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_run import ROOT

from recipes.engine import fused

pytestmark = pytest.mark.slow  # imports Megatron-Core


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def traced(function: Any) -> Any:
    """`function` as `compiled` would compile it, up to the making of kernels."""
    return torch.compile(function.__wrapped__, backend="aot_eager", fullgraph=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rotation_is_megatrons(dtype: torch.dtype) -> None:
    from megatron.core.models.common.embeddings.rope_utils import _apply_rotary_pos_emb_bshd

    states = torch.randn(12, 2, 4, 16, dtype=dtype, requires_grad=True)
    angles = torch.outer(torch.arange(12.0), torch.rand(8)).repeat(1, 2).view(12, 1, 1, 16)
    weight = torch.randn(12, 2, 4, 16)
    results = []
    for rotate in (_apply_rotary_pos_emb_bshd, fused.rotated):
        turned = rotate(states, angles)
        results.append([turned, *torch.autograd.grad((turned * weight).sum(), states)])
    for theirs, ours in zip(*results, strict=True):
        assert torch.equal(theirs, ours)
    cosine, sine = angles.cos().to(dtype), angles.sin().to(dtype)
    torch.testing.assert_close(traced(fused._rotated)(states, cosine, sine), results[0][0])


def test_norm_and_scaling_of_many_tensors() -> None:
    tensors = [torch.randn(5), torch.randn(3, 7), torch.randn(())]
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    norm, _ = fused.norm_of_all(0, torch.zeros(1), [tensors], False)
    torch.testing.assert_close(norm, flat.norm().view(1))
    elsewhere = [torch.empty_like(tensor) for tensor in tensors]
    fused.scale_all(0, torch.zeros(1), [tensors, elsewhere], 0.5)
    assert torch.equal(torch.cat([tensor.flatten() for tensor in elsewhere]), flat * 0.5)
    fused.scale_all(0, torch.zeros(1), [tensors, tensors], 0.5)
    assert torch.equal(torch.cat([tensor.flatten() for tensor in tensors]), flat * 0.5)


def test_megatron_uses_them_and_computes_the_same() -> None:
    program = Path(__file__).with_name("check_fused.py")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, str(program)], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
