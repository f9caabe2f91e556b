import math

import pytest
import torch

from convert.checks import is_finite


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_one_number_that_is_none_is_found_wherever_it_is(dtype: torch.dtype) -> None:
    tensor = torch.randn(3, 70).to(dtype)
    assert is_finite(tensor) and is_finite(tensor[:0])
    for number in (math.nan, math.inf, -math.inf):
        for place in (0, 100, 209):
            damaged = tensor.clone()
            damaged.view(-1)[place] = number
            assert not is_finite(damaged)
