"""The mixtures of all phases of the tiny recipe on the real sample, read back document by document."""

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest

from data_prep.corpus import SAMPLE
from data_prep.indexed import read_document, read_index, read_tokens
from data_prep.mixture import build
from data_prep.shards import shard_sizes
from recipes.artifacts import read_json
from recipes.blend import load_blend
from recipes.errors import UserError
from recipes.layout import RunFolder
from recipes.load import load_recipe
from recipes.schema import Recipe

TINY = load_recipe("qwen3_tiny")


@pytest.fixture
def run(sample_run: RunFolder, tmp_path: Path) -> RunFolder:
    """A run folder of its own, with the sample's shards already there."""
    shutil.copytree(sample_run.root, tmp_path / "run")
    return RunFolder(tmp_path / "run")


def documents_of(prefix: Path) -> set[bytes]:
    index = read_index(prefix, whole=False)
    tokens = read_tokens(prefix, index)
    return {read_document(tokens, index, number).tobytes() for number in range(len(index.lengths))}


def listed(run: RunFolder, phase: int) -> dict[str, list[int]]:
    """Byte pointers of the documents that each slice of a phase lists."""
    folder = run.phase(phase)
    return {name: read_index(folder / name, whole=False).pointers.tolist() for name in load_blend(run, phase).prefixes}


def test_slices_hold_exactly_the_samples_of_the_recipe(run: RunFolder) -> None:
    tables = build(TINY, SAMPLE, run)
    for table, phase in zip(tables, TINY.phases, strict=True):
        blend = json.loads((run.phase(table.number) / "blend.json").read_text())
        for name in blend["prefixes"]:
            tokens = read_index(run.phase(table.number) / name, whole=False).tokens
            assert (tokens - 1) // phase.sequence_length == blend["samples"][name]
        assert sum(blend["samples"].values()) == blend["samples_total"] == phase.samples
        assert load_blend(run, table.number).samples == phase.samples
        assert sum(row.share_asked for row in table.sources) == pytest.approx(1)
        assert sum(row.share_reached for row in table.sources) == pytest.approx(1)
        for row in table.sources:
            assert abs(row.samples - row.samples_asked) <= max(1, 0.02 * phase.samples), row


def test_no_document_is_read_twice_over_all_phases_and_none_is_held_out(run: RunFolder) -> None:
    build(TINY, SAMPLE, run)
    phases = [listed(run, phase) for phase in range(1, 5)]
    for source in shard_sizes(run):
        times = Counter(pointer for phase in phases for pointer in phase.get(source.name, []))
        everything = read_index(run.shards / source.name / "documents").pointers.tolist()
        assert max(times.values()) - min(times[pointer] for pointer in everything) <= 1
        held_out = documents_of(run.heldout / source.name)
        for number, phase in enumerate(phases, 1):
            if source.name in phase:
                assert not held_out & documents_of(run.phase(number) / source.name)


def test_a_source_is_exhausted_before_it_repeats(run: RunFolder) -> None:
    recipe = load_recipe("qwen3_tiny", ["phases.1.token_budget=600000", "phases.1.mixture={spanish: 0.9, laws: 0.1}"])
    [table] = build(recipe, SAMPLE, run, [1])
    times = Counter(listed(run, 1)["spanish"])
    documents = len(read_index(run.shards / "spanish" / "documents").lengths)
    assert len(times) == documents
    assert max(times.values()) - min(times.values()) <= 1
    assert table.sources[0].epochs == pytest.approx(sum(times.values()) / documents, abs=0.1)


def test_links_are_relative_and_survive_a_move(run: RunFolder) -> None:
    build(TINY, SAMPLE, run, [2])
    link = run.phase(2) / "laws.bin"
    assert str(link.readlink()) == "../../shards/laws/documents.bin"
    moved = RunFolder(run.root.parent / "moved")
    run.root.rename(moved.root)
    assert read_index(moved.phase(2) / "laws", whole=False).tokens > 0


def test_one_phase_alone_is_the_same_as_all(run: RunFolder, tmp_path: Path) -> None:
    shutil.copytree(run.root, tmp_path / "other")
    other = RunFolder(tmp_path / "other")
    build(TINY, SAMPLE, run)
    build(TINY, SAMPLE, other, [3])
    assert [path.name for path in (other.root / "phases").iterdir()] == ["3"]
    for path in other.phase(3).iterdir():
        assert path.read_bytes() == (run.phase(3) / path.name).read_bytes()
    assert other.plan.read_bytes() == run.plan.read_bytes()


def test_a_change_of_one_phase_leaves_those_before_it(run: RunFolder) -> None:
    assert not any(table.skipped for table in build(TINY, SAMPLE, run))
    assert all(table.skipped for table in build(TINY, SAMPLE, run))
    before = json.loads(run.plan.read_text())["digest"]
    changed = load_recipe("qwen3_tiny", ["phases.3.token_budget=100000"])
    assert [table.skipped for table in build(changed, SAMPLE, run)] == [True, True, False, False]
    assert json.loads(run.plan.read_text())["digest"] != before


@pytest.mark.parametrize("harm", ["remove", "garble", "unlink"])
def test_a_harmed_phase_is_made_again(run: RunFolder, harm: str) -> None:
    build(TINY, SAMPLE, run, [1])
    path = run.phase(1) / "laws.idx"
    content = path.read_bytes()
    if harm == "garble":
        path.write_bytes(content[:-1] + b"\1")
    else:
        (path if harm == "remove" else path.with_suffix(".bin")).unlink()
    assert not build(TINY, SAMPLE, run, [1])[0].skipped
    assert path.read_bytes() == content


def test_another_seed_gives_other_documents(run: RunFolder) -> None:
    build(TINY, SAMPLE, run, [1])
    first = listed(run, 1)
    build(load_recipe("qwen3_tiny", ["seed=1"]), SAMPLE, run, [1])
    assert listed(run, 1)["laws"] != first["laws"]


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("phases.2.token_budget=1e9", "phases.2.token_budget"),
        ("phases.2.mixture={nothing: 1.0}", r"phases\.2\.mixture\.nothing.*laws"),
        ("model.shape.vocab_size=8000", r"model\.shape\.vocab_size.*8192 ids, the model 8000"),
        ("tokenizer.separator=</s>", r"no token '</s>'"),
    ],
)
def test_what_cannot_be_is_refused(run: RunFolder, override: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        build(load_recipe("qwen3_tiny", [override]), SAMPLE, run)
    assert not (run.root / "phases").exists()


def test_a_mixture_that_names_nothing_is_refused_before_tokenizing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"mixture\.nothing"):
        build(load_recipe("qwen3_tiny", ["phases.1.mixture={nothing: 1.0}"]), SAMPLE, RunFolder(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_documents_too_long_for_every_gap_fill_it_and_more(make_corpus, tmp_path: Path) -> None:
    corpus = make_corpus({"laws": ["kanun " * 4_000 + str(number) for number in range(50)]}, heldout_fraction=0)
    recipe: Recipe = load_recipe(
        "qwen3_tiny", ["phases.1.token_budget=2048", *(f"phases.{n}.mixture={{laws: 1.0}}" for n in range(1, 5))]
    )
    run = RunFolder(tmp_path / "run")
    (table,) = build(recipe, corpus, run, [1])
    (row,) = table.sources
    blend = read_json(run.phase(1) / "blend.json")
    assert (table.samples, blend["iterations"] * blend["global_batch_size"], row.documents) == (8, 8, 1)
    assert blend["samples_total"] == row.samples == (row.tokens - 1) // 256 > 8


def whole_mixture(*sources: str) -> list[str]:
    return [
        f"phases.{number}.mixture={{{', '.join(f'{s}: {1 / len(sources)}' for s in sources)}}}"
        for number in range(1, 5)
    ]


def test_a_mixture_over_shards_that_were_rebuilt_is_refused(make_corpus, tmp_path: Path) -> None:
    run, recipe = RunFolder(tmp_path / "run"), load_recipe("qwen3_tiny", whole_mixture("laws"))
    texts = [f"kanun madde {number} " * 200 for number in range(2_000)]
    build(recipe, make_corpus({"laws": texts}, heldout_fraction=0), run)
    assert load_blend(run, 1)
    build(recipe, make_corpus({"laws": texts[::-1]}, heldout_fraction=0), run, [2])
    assert load_blend(run, 2)
    with pytest.raises(UserError, match="shards of laws were built again after this mixture was cut"):
        load_blend(run, 1)


def test_a_trained_phase_keeps_its_mixture(make_corpus, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    corpus = make_corpus({"laws": [f"kanun madde {number} " * 200 for number in range(2_000)]}, heldout_fraction=0)
    build(load_recipe("qwen3_tiny", whole_mixture("laws")), corpus, run, [1])
    run.lock.write_text('{"data": {"1": "digest"}}')
    longer = load_recipe("qwen3_tiny", [*whole_mixture("laws"), "phases.1.token_budget=200000"])
    with pytest.raises(UserError, match=r"phases/1: this run was trained on another mixture"):
        build(longer, corpus, run, [1])


def test_a_source_that_lost_everything_is_named_with_the_reason(make_corpus, tmp_path: Path) -> None:
    corpus = make_corpus({"laws": [""] * 3, "other": ["bir metin " * 100] * 2}, heldout_fraction=0)
    recipe = load_recipe("qwen3_tiny", whole_mixture("laws", "other"))
    with pytest.raises(UserError, match=r"no document of a source is left .*laws: dropped .*laws\.jsonl\.gz:1"):
        build(recipe, corpus, RunFolder(tmp_path / "run"))
