import pytest
from hypothesis import given
from hypothesis import strategies as st

from recipes.cluster import batch_identity, batch_on
from recipes.errors import UserError
from recipes.load import load_cluster, load_recipe
from recipes.schema import Phase

PHASE = load_recipe("qwen3_4b").phase(1)


def phase(**changes: int) -> Phase:
    return Phase.model_validate(PHASE.model_dump() | changes)


@given(
    st.integers(1, 8), st.integers(1, 4), st.integers(1, 4), st.integers(1, 16), st.integers(1, 4), st.integers(1, 50)
)
def test_both_identities_hold(
    data: int, tensor: int, pipeline: int, accumulation: int, micro: int, context: int
) -> None:
    asked = phase(
        tensor_parallel=tensor,
        pipeline_parallel=pipeline,
        context_parallel=context,
        micro_batch_size=micro,
        global_batch_size=data * micro * accumulation,
    )
    solved = batch_identity(asked, data * tensor * pipeline * context)
    assert (solved.data_parallel, solved.accumulation) == (data, accumulation)


def test_the_published_triple_needs_25_data_parallel_ranks() -> None:
    assert batch_identity(phase(), 400).accumulation == 1
    assert batch_identity(phase(), 25).accumulation == 16


def test_what_does_not_divide_is_refused_with_what_would() -> None:
    with pytest.raises(ValueError, match=r"global_batch_size \(410\).*the nearest that are: 400 or 800"):
        batch_identity(phase(global_batch_size=410), 400)
    with pytest.raises(ValueError, match="does not divide the 400 ranks"):
        batch_identity(phase(tensor_parallel=3), 400)


def test_context_parallelism_is_refused_where_there_is_no_gpu() -> None:
    split = phase(context_parallel=2)
    assert batch_on(split, load_cluster("mn5")).data_parallel == 200
    with pytest.raises(ValueError, match=r"context_parallel \(2\) needs Transformer Engine"):
        batch_on(split, load_cluster("local"))


def test_spares_do_not_count() -> None:
    assert load_cluster("mn5", ["spare_nodes=4"]).world_size == 400


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("ranks_per_node=3", "one per GPU"),
        ("accelerator=null", "go together"),
        ("container.image=null", "needs `image`"),
        ("node=4", "did you mean 'nodes'"),
    ],
)
def test_contradictions_in_a_cluster_file(override: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        load_cluster("mn5", [override])
