"""Whatever happens to a file of a model or checkpoint: one sentence and nothing written, or a whole conversion."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from convert.export_hf import export_hf, from_base
from convert.import_hf import import_hf
from recipes.errors import UserError

Make = Callable[..., Path]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["model", "checkpoint"])
def test_any_damage_is_one_sentence_or_harmless(make_model: Make, tmp_path: Path, kind: str) -> None:
    model = make_model(shards=2)
    import_hf(model, tmp_path / "checkpoint")
    whole, damaged, out = tmp_path / kind, tmp_path / "damaged", tmp_path / "out"
    files = sorted(path.relative_to(whole) for path in whole.rglob("*") if path.is_file())

    def convert() -> None:
        if kind == "model":
            import_hf(damaged, out)
        else:
            export_hf(damaged, out, from_base(model))

    @settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        file=st.sampled_from(files),
        place=st.floats(0, 1, exclude_max=True),
        near_start=st.booleans(),
        bit=st.integers(0, 7),
        cut=st.booleans(),
    )
    def damage(file: Path, place: float, near_start: bool, bit: int, cut: bool) -> None:
        shutil.copytree(whole, damaged)
        content = bytearray((damaged / file).read_bytes())
        position = int(place * min(len(content), 3000 if near_start else len(content)))
        if cut:
            del content[position:]
        else:
            content[position] ^= 1 << bit
        (damaged / file).write_bytes(content)
        try:
            convert()
        except UserError as error:
            assert "\n" not in str(error)
            assert not out.exists()
        finally:
            shutil.rmtree(damaged)
            shutil.rmtree(out, ignore_errors=True)
        assert {path.name for path in tmp_path.iterdir()} == {"model", "checkpoint"}

    damage()
