"""The mixtures of all phases of the tiny recipe on the real sample, read back document by document."""

import json
import os
import shutil
import signal
from collections import Counter
from collections.abc import Callable
from math import ceil
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import ks_2samp, kstest

from data_prep import mixture, mixture_plot
from data_prep.bundled import SAMPLE
from data_prep.indexed import read_document, read_index, read_tokens
from data_prep.mixture import build
from data_prep.phase_folder import phase_documents
from data_prep.shard_receipts import shard_sizes
from data_prep.slices import cut_phase
from recipes import artifacts
from recipes.artifacts import read_json
from recipes.blend import load_blend
from recipes.errors import UserError
from recipes.layout import RunFolder
from recipes.load import load_recipe
from recipes.schema import Recipe

TINY = load_recipe("qwen3_tiny")


@pytest.fixture(autouse=True)
def no_plot(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its drawing takes longer than all else here."""
    monkeypatch.setattr(mixture_plot, "draw_mixture", lambda phase, max_epochs, path: path.write_bytes(b""))


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


def written(run: RunFolder) -> dict[int, set[int]]:
    """Per phase, when its files were written."""
    return {
        number: {path.stat().st_mtime_ns for path in run.phase(number).rglob("*.*") if not path.is_symlink()}
        for number in range(1, 5)
    }


def rewritten(run: RunFolder, *overrides: str) -> list[int]:
    """Phases of which a file is new after a build with `overrides`."""
    before = written(run)
    build(load_recipe("qwen3_tiny", list(overrides)), SAMPLE, run)
    after = written(run)
    return [number for number in before if before[number] != after[number]]


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
            assert abs(row.samples - row.share_asked * phase.samples) <= 1, row
        assert 0 <= phase.token_budget - table.tokens < phase.global_batch_size * phase.sequence_length


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
    for path in filter(Path.is_file, other.phase(3).rglob("*")):
        assert path.read_bytes() == (run.phase(3) / path.relative_to(other.phase(3))).read_bytes()
    assert other.plan.read_bytes() == run.plan.read_bytes()


def test_a_change_makes_only_the_phases_again_that_it_concerns(run: RunFolder) -> None:
    assert not any(table.skipped for table in build(TINY, SAMPLE, run))
    plan = read_json(run.plan)["digest"]
    schedule = "phases.2.schedule={kind: constant, max_lr: 1.0e-4}"
    assert rewritten(run) == []
    assert rewritten(run, schedule, "phases.1.micro_batch_size=2", "checkpoint.every_iterations=9") == []
    assert rewritten(run, "phases.4.mixture={legal: 0.9, general: 0.1}") == [4]
    assert rewritten(run, "phases.3.token_budget=100000") == [3, 4]  # what it gave up, phase 4 may now take
    assert read_json(run.plan)["digest"] != plan
    assert rewritten(run, "phases.1.token_budget=98400", "phases.3.token_budget=100000") == []  # the same iterations


def test_it_is_said_why_a_phase_is_built_again(run: RunFolder) -> None:
    def why(*overrides: str) -> list[str]:
        return [table.rebuilt for table in build(load_recipe("qwen3_tiny", list(overrides)), SAMPLE, run)]

    assert why() == why() == [""] * 4
    first = (run.phase(4) / "manifest.json").read_bytes()
    assert why("seed=7") == ["seed (1234 -> 7) changed"] * 4
    (run.phase(2) / "laws.bin").unlink()
    assert why("seed=7") == ["", "laws.bin is missing or damaged", "", ""]
    budget, *_, last = why("seed=7", "phases.1.token_budget=60000")
    assert budget == "token_budget, in sequences (384 -> 232) changed"
    assert last == "what earlier phases read of general_tr, laws, decisions and 7 more changed"
    why()
    assert (run.phase(4) / "manifest.json").read_bytes() == first  # it does not tell what was there before


@pytest.mark.parametrize("record", ["plan.json", "phases/1/manifest.json"])
@pytest.mark.parametrize("harm", [lambda text: text[:40], lambda text: text.replace(b": 384", b": 385", 1)])
def test_a_damaged_record_is_mended(run: RunFolder, record: str, harm: Callable[[bytes], bytes]) -> None:
    build(TINY, SAMPLE, run, [1])
    before = (run.root / record).read_bytes()
    (run.root / record).write_bytes(harm(before))
    assert (run.root / record).read_bytes() != before
    build(TINY, SAMPLE, run, [1])
    assert (run.root / record).read_bytes() == before


def test_a_change_leaves_the_phases_after_it_that_read_other_sources(run: RunFolder) -> None:
    apart = ["phases.1.mixture={laws: 1.0}", "phases.2.mixture={general: 1.0}", "phases.3.mixture={general: 1.0}"]
    build(load_recipe("qwen3_tiny", apart), SAMPLE, run)
    assert rewritten(run, *apart, "phases.1.token_budget=60000") == [1, 4]


def test_a_phase_goes_on_from_stored_cursors(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(mixture, "cut_phase", lambda *given: calls.append(1) or cut_phase(*given))
    build(TINY, SAMPLE, run, [1, 2, 3])
    assert len(calls) == 3
    build(TINY, SAMPLE, run, [4])
    assert len(calls) == 4
    content = (run.phase(4) / "manifest.json").read_bytes()
    (run.phase(2) / "given" / "laws.npy").unlink()
    shutil.rmtree(run.phase(4))
    build(TINY, SAMPLE, run, [4])
    assert len(calls) == 6  # phases 2 and 4
    assert (run.phase(4) / "manifest.json").read_bytes() == content


@pytest.mark.parametrize("file", ["laws.idx", "given/laws.npy"])
@pytest.mark.parametrize("harm", ["remove", "garble", "unlink"])
def test_a_harmed_phase_is_made_again(run: RunFolder, harm: str, file: str) -> None:
    build(TINY, SAMPLE, run, [1])
    path = run.phase(1) / file
    content = path.read_bytes()
    if harm == "garble":
        path.write_bytes(content[:-1] + b"\1")
    else:
        (path if harm == "remove" else run.phase(1) / "laws.bin").unlink()
    assert not build(TINY, SAMPLE, run, [1])[0].skipped
    assert path.read_bytes() == content


def build_until(run: RunFolder, flushes: int) -> bool:
    """Build all phases in a process that is killed before the file after so many is on the disk; whether it was."""

    def flush(path: Path) -> None:
        nonlocal flushes
        flushes -= 1
        if flushes < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    if not (child := os.fork()):
        artifacts._flush = flush
        try:
            build(TINY, SAMPLE, run)
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


@pytest.mark.slow
def test_killed_between_any_two_files_and_run_again_gives_the_same_bytes(run: RunFolder, tmp_path: Path) -> None:
    shutil.copytree(run.root, tmp_path / "other")
    other = RunFolder(tmp_path / "other")
    build(TINY, SAMPLE, run)
    assert all(build_until(other, flushes) for flushes in (1, 14, 21, 23, 40))
    build(TINY, SAMPLE, other)
    for path in filter(Path.is_file, run.root.rglob("*")):
        assert path.read_bytes() == (other.root / path.relative_to(run.root)).read_bytes()
    assert not list((other.root / "phases").glob(".*"))


def test_a_plot_that_is_missing_is_drawn_and_nothing_else(run: RunFolder) -> None:
    build(TINY, SAMPLE, run)
    plot = run.phase(2) / "mixture.png"
    before = (run.phase(2) / "manifest.json").stat().st_mtime_ns
    plot.unlink()
    assert all(table.skipped for table in build(TINY, SAMPLE, run))
    assert plot.is_file()
    assert (run.phase(2) / "manifest.json").stat().st_mtime_ns == before


def test_phases_have_the_lengths_and_positions_of_their_source(run: RunFolder) -> None:
    mixtures = [f"phases.{number}.mixture={{decisions: 1.0}}" for number in range(1, 5)]
    build(load_recipe("qwen3_tiny", mixtures), SAMPLE, run)
    shard = read_index(run.shards / "decisions" / "documents")
    for number in range(1, 5):
        pointers = listed(run, number)["decisions"]
        documents = np.searchsorted(shard.pointers, pointers)
        assert len(documents) > 80
        assert kstest(documents / len(shard.lengths), "uniform").pvalue > 0.01
        assert ks_2samp(shard.lengths[documents], shard.lengths).pvalue > 0.01


def test_a_phase_takes_long_documents_only_and_short_ones_wait(run: RunFolder) -> None:
    long = {"decisions": 600, "laws": 900}
    recipe = load_recipe("qwen3_tiny", [f"phases.2.minimum_document_tokens={long}".replace("'", "")])
    tables = build(recipe, SAMPLE, run)
    for name, minimum in long.items():
        shard = read_index(run.shards / name / "documents")
        lengths = read_index(run.phase(2) / name, whole=False).lengths
        assert lengths.min() >= minimum > shard.lengths.min()
        others = np.concatenate([read_index(run.phase(n) / name, whole=False).lengths for n in (1, 3, 4)])
        assert others.min() < minimum
        pointers = [pointer for number in range(1, 5) for pointer in listed(run, number)[name]]
        assert len(set(pointers)) == len(pointers)
    minimums = {row.source: row.minimum_document_tokens for row in tables[1].sources}
    assert minimums == {name: long.get(name, 1) for name in minimums}
    planned = read_json(run.plan)["phases"][1]["sources"]
    assert {name: source["minimum_document_tokens"] for name, source in planned.items()} == minimums


def test_a_packed_phase_has_its_samples_and_the_phases_around_it_read_other_documents(run: RunFolder) -> None:
    recipe = load_recipe("qwen3_tiny", ["phases.3.packing=best_fit"])
    tables = build(recipe, SAMPLE, run)
    table, blend = tables[2], load_blend(run, 3)
    assert (blend.packing, load_blend(run, 2).packing) == ("best_fit", "concatenate")
    assert sum(row.samples for row in table.sources) == table.samples == TINY.phase(3).samples
    for row in table.sources:
        assert row.samples == row.samples_asked
        assert read_index(run.phase(3) / row.source).lengths.tolist() == [256] * row.samples
        assert (row.truncated_fitting, row.most_readings) == (0, 1)
        assert row.padding < (0.05 if row.samples > 100 else 0.5)
    places = sum(row.samples * 256 * (1 - row.padding) for row in table.sources)
    assert sum(len(sample) for sample in phase_documents(run, 3)) == pytest.approx(places)
    packed = {piece for sample in phase_documents(run, 3) for piece in split(sample, blend.separator_id)}
    others = {document.tobytes() for other in (1, 2, 4) for document in phase_documents(run, other)}
    whole = {
        document for source in shard_sizes(run) for document in documents_of(run.shards / source.name / "documents")
    }
    assert len(packed & whole) > 20
    assert not packed & others
    assert all(table.skipped for table in build(recipe, SAMPLE, run))
    assert [table.skipped for table in build(TINY, SAMPLE, run)] == [True, True, False, False]


def split(tokens: np.ndarray, separator: int) -> list[bytes]:
    """The documents of a sample, as the shards hold them."""
    ends = np.flatnonzero(tokens == separator)[:-1] + 1
    return [piece.astype("<u2").tobytes() for piece in np.split(tokens, ends)]


@pytest.mark.parametrize("epochs", [1, 1.5, 3])
def test_no_source_is_read_more_often_than_the_cap_over_the_whole_curriculum(
    make_corpus, tmp_path: Path, epochs: float
) -> None:
    """The largest budget that is not refused, in four phases, the second of which wants the longer half."""
    texts = [f"kanun madde {number} " * (5 + number % 90) for number in range(400)]
    run, corpus = RunFolder(tmp_path / "run"), make_corpus({"laws": texts}, heldout_fraction=0)
    settings = [*whole_mixture("laws"), f"max_epochs={epochs}", "phases.4.sequence_length=256"]
    settings.append("phases.2.minimum_document_tokens={laws: 300}")
    for number in range(1, 5):
        settings.append(f"phases.{number}.token_budget=20480")
    with pytest.raises(UserError, match=r"phases\.4\.token_budget") as caught:
        build(load_recipe("qwen3_tiny", [*settings, "phases.4.token_budget=9_000_000"]), corpus, run)
    most = str(caught.value).split("at most ")[-1].split(" tokens")[0].replace(",", "")
    tables = build(load_recipe("qwen3_tiny", [*settings, f"phases.4.token_budget={most}"]), corpus, run)
    shard = read_index(run.shards / "laws" / "documents")
    times = Counter(pointer for number in range(1, 5) for pointer in listed(run, number)["laws"])
    assert max(times.values()) == tables[3].sources[0].most_readings <= ceil(epochs)
    given = sum(row.tokens for table in tables for row in table.sources)
    assert epochs * shard.tokens - 4 * 2 * 8 * 256 < given <= epochs * shard.tokens
    assert tables[3].sources[0].epochs_so_far == pytest.approx(given / shard.tokens)
    assert all(table.samples == sum(row.samples for row in table.sources) for table in tables)
    repeated = sum(row.repeated for table in tables for row in table.sources)
    assert repeated == sum(times.values()) - len(times)


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
    run.lock.write_text(json.dumps({"data": {"1": load_blend(run, 1).digest}}))
    (run.phase(1) / "laws.idx").unlink()
    assert not build(load_recipe("qwen3_tiny", whole_mixture("laws")), corpus, run, [1])[0].skipped  # the same again
    longer = load_recipe("qwen3_tiny", [*whole_mixture("laws"), "phases.1.token_budget=200000"])
    with pytest.raises(UserError, match=r"phases/1: this run was trained on another mixture"):
        build(longer, corpus, run, [1])


def test_a_source_that_lost_everything_is_named_with_the_reason(make_corpus, tmp_path: Path) -> None:
    corpus = make_corpus({"laws": [""] * 3, "other": ["bir metin " * 100] * 2}, heldout_fraction=0)
    recipe = load_recipe("qwen3_tiny", whole_mixture("laws", "other"))
    with pytest.raises(UserError, match=r"no document of a source is left .*laws: dropped .*laws\.jsonl\.gz:1"):
        build(recipe, corpus, RunFolder(tmp_path / "run"))
