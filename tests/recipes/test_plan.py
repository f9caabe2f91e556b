from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recipes.errors import UserError
from recipes.load import load_cluster, load_recipe
from recipes.plan import SourceSize, expected_sizes, limited_sizes, make_plan
from recipes.shares import largest_remainder, source_limits, source_shares

SIZES = [
    SourceSize("laws", "legal", 3_000_000),
    SourceSize("decisions", "legal", 1_000_000),
    SourceSize("general_tr", "general", 2_000_000),
    SourceSize("english", "replay", 500_000),
]


@given(st.dictionaries(st.text(min_size=1), st.floats(1e-6, 1e6), min_size=1, max_size=20), st.integers(0, 10**12))
def test_largest_remainder_adds_up_and_stays_within_one_of_the_quota(shares: dict[str, float], total: int) -> None:
    counts = largest_remainder(shares, total)
    assert sum(counts.values()) == total
    weight = sum(map(Fraction, shares.values()))
    assert all(abs(count - Fraction(shares[name]) / weight * total) < 1 for name, count in counts.items())


def test_a_plan_is_consistent_in_every_integer() -> None:
    recipe = load_recipe("qwen3_tiny")
    plan = make_plan(recipe, SIZES, load_cluster("local"))
    read = dict.fromkeys((size.name for size in SIZES), 0)
    for phase in plan.phases:
        assert (
            phase.samples
            == phase.iterations * phase.global_batch_size
            == sum(s.samples for s in phase.sources.values())
        )
        assert phase.tokens == phase.samples * phase.sequence_length <= phase.token_budget
        assert phase.token_budget - phase.tokens < phase.global_batch_size * phase.sequence_length
        for size in SIZES:
            source = phase.sources[size.name]
            read[size.name] += source.tokens
            assert source.epochs_so_far == read[size.name] / size.tokens
            assert abs(source.samples - source.share * phase.samples) <= 1
        batch = phase.batch
        assert batch is not None
        assert batch.world_size == batch.data_parallel * batch.tensor_parallel * batch.pipeline_parallel
        assert batch.global_batch_size == batch.micro_batch_size * batch.accumulation * batch.data_parallel


def test_a_domain_is_split_by_tokens_and_a_source_name_wins() -> None:
    recipe = load_recipe("qwen3_tiny", ["phases.1.mixture={legal: 0.8, english: 0.2}"])
    assert source_shares(recipe, 1, SIZES) == pytest.approx({"laws": 0.6, "decisions": 0.2, "english": 0.2})


def test_a_mixture_must_name_what_the_corpus_has_and_only_once() -> None:
    recipe = load_recipe("qwen3_tiny", ["phases.1.mixture={legals: 1.0}"])
    with pytest.raises(UserError, match=r"phases\.1\.mixture\.legals.*it has decisions, english, general"):
        make_plan(recipe, SIZES)
    recipe = load_recipe("qwen3_tiny", ["phases.1.mixture={legal: 0.5, laws: 0.5}"])
    with pytest.raises(UserError, match="source laws is named twice"):
        make_plan(recipe, SIZES)


def test_an_impossible_budget_is_refused_with_a_feasible_one() -> None:
    tight = [size._replace(tokens=size.tokens // 50) for size in SIZES]
    with pytest.raises(UserError, match=r"phases\.\d\.token_budget.*can have at most ([\d,]+) tokens") as caught:
        make_plan(load_recipe("qwen3_tiny"), tight)
    words = str(caught.value)
    number = words.split("phases.")[1][0]
    feasible = int(words.split("at most ")[-1].split(" tokens")[0].replace(",", ""))
    recipe = load_recipe("qwen3_tiny", [f"phases.{number}.token_budget={feasible}"])
    with pytest.raises(UserError) as later:  # a later phase may still be too large, this one no more
        make_plan(recipe, tight)
    assert f"phases.{number}." not in str(later.value)


def test_the_4b_recipe_has_the_published_steps() -> None:
    recipe = load_recipe("qwen3_4b")
    phase = make_plan(recipe, expected_sizes(recipe), load_cluster("mn5")).phases[0]
    assert (phase.iterations, phase.warmup_iterations) == (165_278, 8_264)
    assert phase.batch is not None and (phase.batch.data_parallel, phase.batch.accumulation) == (400, 1)
    published = load_recipe("qwen3_4b", ["phases.legal.token_budget=251507507200"]).phase(1)
    assert (published.iterations, published.warmup_iterations) == (153_508, 7_675)


def test_the_1p7b_recipe_fits_the_published_cluster_and_sources() -> None:
    recipe = load_recipe("qwen3_1p7b")
    plan = make_plan(recipe, expected_sizes(recipe), load_cluster("mn5"))
    assert [phase.token_budget for phase in plan.phases] == [
        3_700_000_000,
        57_000_000_000,
        165_000_000_000,
        24_900_000_000,
    ]
    assert all(source.epochs_so_far <= recipe.max_epochs for source in plan.phases[-1].sources.values())


def test_limits_by_source_and_by_domain() -> None:
    recipe = load_recipe("qwen3_tiny", ["limit_tokens={legal: 400_000, english: 9_000_000}"])
    assert source_limits(recipe, SIZES) == {"laws": 300_000, "decisions": 100_000}
    assert [size.tokens for size in limited_sizes(recipe, SIZES)] == [300_000, 100_000, 2_000_000, 500_000]
    with pytest.raises(UserError, match=r"limit_tokens\.legals"):
        source_limits(load_recipe("qwen3_tiny", ["limit_tokens={legals: 1}"]), SIZES)


LONG = [
    SIZES[0]._replace(long={8192: 60_000, 1024: 900_000}),
    SIZES[1]._replace(long={8192: 20_000, 1024: 500_000}),
    *SIZES[2:],
]


def test_a_minimum_is_a_sources_own_or_its_domains() -> None:
    recipe = load_recipe("qwen3_tiny", ["phases.4.minimum_document_tokens={legal: 8192, laws: 1024}"])
    sources = make_plan(recipe, LONG).phases[3].sources
    assert {name: source.minimum_document_tokens for name, source in sources.items()} == {
        "laws": 1024,
        "decisions": 8192,
        "general_tr": 1,
        "english": 1,
    }
    assert sources["laws"].share / sources["decisions"].share == pytest.approx(900_000 / 20_000)
    before = make_plan(recipe, LONG).phases[2].sources["decisions"]
    assert before.most_readings == before.epochs_so_far
    assert sources["decisions"].most_readings == pytest.approx(
        before.epochs_so_far + sources["decisions"].tokens / 20_000
    )


@pytest.mark.parametrize(
    ("minimum", "sentence"),
    [
        ("{legals: 9}", r"phases\.4\.minimum_document_tokens\.legals.*it has decisions, english, general"),
        ("{laws: 9, english: 9}", r"minimum_document_tokens\.english`: the phase reads nothing of it"),
    ],
)
def test_a_minimum_must_name_what_the_phase_reads(minimum: str, sentence: str) -> None:
    overrides = ["phases.4.mixture={legal: 0.5, general: 0.5}", f"phases.4.minimum_document_tokens={minimum}"]
    with pytest.raises(UserError, match=sentence):
        make_plan(load_recipe("qwen3_tiny", overrides), LONG)


def test_a_minimum_that_no_document_reaches_is_refused() -> None:
    sizes = [SIZES[0]._replace(long={8192: 0}), *SIZES[1:]]
    overrides = ["phases.4.mixture={laws: 1.0}", "phases.4.minimum_document_tokens={laws: 8192}"]
    with pytest.raises(UserError, match=r"no document of laws has at least 8,192 tokens; lower it"):
        make_plan(load_recipe("qwen3_tiny", overrides), sizes)


def test_long_documents_that_cannot_fill_a_phase_are_refused_with_what_they_can() -> None:
    overrides = ["phases.4.mixture={laws: 1.0}", "phases.4.minimum_document_tokens={laws: 8192}"]
    recipe = load_recipe("qwen3_tiny", [*overrides, "phases.4.token_budget=1_000_000"])
    with pytest.raises(UserError) as caught:
        make_plan(recipe, LONG)
    words = str(caught.value)
    assert "of its 60,000 tokens in documents of at least 8,192 tokens, read at most 4 times over all phases" in words
    feasible = int(words.split("at most ")[-1].split(" tokens")[0].replace(",", ""))
    read = make_plan(load_recipe("qwen3_tiny"), LONG).phases[2].sources["laws"].epochs_so_far  # by the phases before
    assert 200_000 < (4 - read) * 60_000 - 6 * 512 - 2 * 2048 < feasible < (4 - read) * 60_000
    for budget, fits in ((feasible, True), (feasible + 2048, False)):
        recipe = load_recipe("qwen3_tiny", [*overrides, f"phases.4.token_budget={budget}"])
        if fits:
            assert make_plan(recipe, LONG).phases[3].sources["laws"].most_readings <= 4
        else:
            with pytest.raises(UserError):
                make_plan(recipe, LONG)


def test_lengths_that_are_not_known_yet_count_as_long_enough() -> None:
    overrides = ["phases.4.mixture={laws: 1.0}", "phases.4.minimum_document_tokens={laws: 8192}"]
    assert make_plan(load_recipe("qwen3_tiny", overrides), SIZES).phases[3].sources["laws"].most_readings < 1
