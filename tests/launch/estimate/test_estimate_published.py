"""What was typed from the sources, held against the sources' own arithmetic."""

from typing import Any

import pytest
import yaml

from launch.estimate.published import PATH, Row, blind, published

CONTENT = yaml.safe_load(PATH.read_text(encoding="utf-8"))
ROWS = published()

# llm-foundry's column NumParams at a sequence length of 2,048
MPT_PARAMETERS = {
    "mpt_760m": 760470528,
    "mpt_1b": 1315950592,
    "mpt_3b": 2651837440,
    "mpt_7b": 6658859008,
    "mpt_13b": 12853954560,
    "mpt_30b": 29975214080,
    "mpt_70b": 64862437376,
}


def stated() -> list[tuple[Row, float, dict[str, Any]]]:
    """Rows whose source states an MFU, with it."""
    values = [
        (dict(zip(source["columns"], values, strict=True)).get("mfu"), source)
        for source in CONTENT["sources"]
        for values in source["rows"]
    ]
    return [(row, mfu, source) for row, (mfu, source) in zip(ROWS, values, strict=True) if mfu]


def flops_per_token(row: Row, source: dict[str, Any]) -> float:
    """As the source counts: twice our attention, since it takes the whole square."""
    network, length = row.network, row.layout.sequence_length
    if "flops_per_sequence" in source:
        return source["flops_per_sequence"] / length
    weights = network.layers * network.layer_weights
    if source["name"] == "llm_foundry":
        learned_positions = length * network.hidden
        weights += network.vocabulary * network.hidden + learned_positions
    return 6 * weights + 12 * network.layers * network.query * length


def test_every_row_agrees_with_the_mfu_beside_it() -> None:
    checked = stated()
    assert len(checked) > 200
    for row, mfu, source in checked:
        ours = row.tokens_per_second * flops_per_token(row, source) / 989e12
        assert ours == pytest.approx(mfu, rel=0.01), row.name


@pytest.mark.parametrize(("name", "parameters"), MPT_PARAMETERS.items())
def test_shapes_have_the_parameters_that_the_table_counts(name: str, parameters: int) -> None:
    network = next(row.network for row in ROWS if row.network_name == name)
    assert network.parameters + 2048 * network.hidden == pytest.approx(parameters, rel=1e-3)


def test_every_row_divides() -> None:
    for row in ROWS:
        layout = row.layout
        assert layout.data * layout.tensor * layout.pipeline * layout.context == layout.gpus, row.name
        assert row.network.layers % (layout.pipeline * layout.virtual_stages) == 0, row.name


def test_the_run_to_be_predicted_is_not_among_them() -> None:
    run = blind()
    assert run.tokens_per_second * 400 == pytest.approx(2.57e6)
    assert run not in ROWS
    assert run.network not in [row.network for row in ROWS]
