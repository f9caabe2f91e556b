from pathlib import Path

import pytest

from recipes.engine.platform import has_cuda, has_transformer_engine


def test_transformer_engine_counts_only_beside_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "transformer_engine.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert has_transformer_engine() is has_cuda()
