"""`cpt rehearse` from outside."""

import json

import pytest
import typer
from typer.testing import CliRunner, Result

from launch.rehearse.command import rehearse
from recipes.errors import UserError

app = typer.Typer()
app.command()(rehearse)


def call(*arguments: str) -> Result:
    ended = CliRunner().invoke(app, arguments)
    assert ended.exception is None or isinstance(ended.exception, UserError), ended.exception
    return ended


def test_what_does_not_divide_is_told_without_building_anything() -> None:
    ended = call("qwen3_tiny", "--cluster", "local", "--phase", "2", "--set", "phases.2.tensor_parallel=3")
    assert ended.output.count("✗ phase legal_terms: ") == 5
    assert "num_key_value_heads (2) is not a multiple of tensor_parallel (3)" in ended.output
    assert str(ended.exception) == (
        "recipe qwen3_tiny on local: the rehearsal found 5 problems; they are listed above."
    )


@pytest.mark.slow
def test_400_ranks_of_the_published_curriculum() -> None:
    ended = call("qwen3_1p7b", "--cluster", "mn5", "--json")
    assert ended.exception is None
    answer = json.loads(ended.stdout)
    assert answer["problems"] == []
    phases = answer["phases"]
    assert [phase["distinct_ranks"] for phase in phases] == [1, 1, 1, 4]
    assert {phase["parameters"] for phase in phases} == {1_720_574_976}
    assert [phase["batch"]["data_parallel"] for phase in phases] == [400, 400, 400, 100]
    assert all(phase["memory_bytes"]["total"] < 64e9 for phase in phases)
    assert phases[3]["data_order"] == {"steps": [0, 1, 7596, 7597], "samples": 400, "restarts": 2}


@pytest.mark.long
def test_one_phase_does_not_divide_and_another_does_not_fit() -> None:
    broken, large = "phases.1.pipeline_parallel=3", ("tensor_parallel=1", "global_batch_size=400")
    fields = [broken, *(f"phases.4.{field}" for field in large)]
    overrides = [argument for field in fields for argument in ("--set", field)]
    ended = call("qwen3_1p7b", "--cluster", "mn5", "--phase", "1,4", *overrides)
    problems = [line for line in ended.output.splitlines() if line.startswith("✗")]
    assert len(problems) == 3
    assert problems[1].startswith("✗ phase general: num_hidden_layers (28) is not a multiple of pipeline_parallel (3)")
    assert problems[2].startswith("✗ phase long_context: rank 0 needs ")
    assert problems[2].endswith("GB and has 64.0; it would fit with recompute: selective.")
    assert "4 long_context" in ended.output and "TP PP CP DP       │      1 1 1 400 │" in ended.output
    assert "0–1, 1,897–1,898" in ended.output
    assert str(ended.exception).startswith("recipe qwen3_1p7b on mn5: the rehearsal found 3 problems")
