from collections.abc import Callable
from pathlib import Path

import pytest

from convert.commands import convert_export, convert_import, summary
from recipes.errors import UserError
from recipes.shape import Qwen3Shape

Make = Callable[..., Path]


def test_both_commands(make_model: Make, tmp_path: Path, shape: Qwen3Shape) -> None:
    model, nemo = make_model(), tmp_path / "nemo"
    manifest = convert_import(model, nemo)
    assert summary(manifest, nemo).startswith(f"NeMo checkpoint {nemo}: 36 tensors in float32, digest ")
    assert convert_export(nemo, tmp_path / "a", base=model)["digest"] == manifest["digest"]
    assert convert_export(nemo, tmp_path / "b", shape=shape, tokenizer=model)["digest"] == manifest["digest"]
    with pytest.raises(UserError, match="--base"):
        convert_export(nemo, tmp_path / "c")
