"""Shards of small corpora: what is in them, what is held out, what is skipped and what is made again."""

import gzip
import hashlib
import io
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from rich.console import Console
from rich.progress import Progress

from data_prep import cleaned, shards, tokenize_part
from data_prep.build_source import build_source
from data_prep.clean_corpus import Share
from data_prep.corpus import Source
from data_prep.digest import content_digest, held_out_below
from data_prep.encode import Encoder
from data_prep.indexed import read_document, read_index, read_tokens
from data_prep.ingest import identity, plan
from data_prep.preparation import Options, Preparation
from data_prep.shard_receipts import Receipt, dropped_lines, shard_sizes
from data_prep.shards import build_shards, prepare
from data_prep.tokenize_part import set_up
from data_prep.turn import Turn
from recipes.artifacts import read_json
from recipes.errors import UserError
from recipes.layout import RunFolder
from recipes.plan import SourceSize

MakeCorpus = Callable[..., Path]
LAWS = [f"Madde {number} – Bu Kanun {number * 7} yılında yürürlüğe girer." for number in range(60)]
DECISIONS = [f"Davanın {number}. celsesinde karar verildi." for number in range(40)]


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run")


@pytest.fixture
def build(encoder: Encoder, run: RunFolder) -> Callable[[Path], list[Receipt]]:
    return lambda corpus: build_shards(corpus, encoder, run, Progress(disable=True))


def texts_of(encoder: Encoder, prefix: Path) -> list[str]:
    index = read_index(prefix)
    tokens = read_tokens(prefix, index)
    documents = [read_document(tokens, index, number).tolist() for number in range(len(index.lengths))]
    assert all(
        document[-1] == encoder.separator_id and encoder.separator_id not in document[:-1] for document in documents
    )
    return [encoder._reference.decode(document[:-1]) for document in documents]


def snapshot(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file() and not path.name.startswith(".")  # locks
    }


def products(root: Path) -> dict[str, str]:
    """Digests of what training and evaluation read."""
    return {name: sha for name, sha in snapshot(root).items() if name.endswith((".bin", ".idx", ".jsonl", ".npy"))}


def test_every_document_is_in_the_shard_or_held_out(
    make_corpus: MakeCorpus, build: Callable, run: RunFolder, encoder: Encoder
) -> None:
    receipts = build(make_corpus({"laws": LAWS}, heldout_fraction=0.2))
    expected = [content_digest(text) < held_out_below(0.2) for text in LAWS]
    assert 0 < sum(expected) < len(LAWS)
    assert texts_of(encoder, run.shards / "laws" / "documents") == [
        text for text, out in zip(LAWS, expected, strict=True) if not out
    ]
    held_out = [text for text, out in zip(LAWS, expected, strict=True) if out]
    assert texts_of(encoder, run.heldout / "laws") == held_out
    rows = [json.loads(line) for line in (run.heldout / "laws.jsonl").read_text().splitlines()]
    assert rows == [{"text": text, "source": "laws", "domain": "laws_domain"} for text in held_out]
    assert (receipts[0]["documents"], receipts[0]["heldout"]["documents"]) == (60 - len(held_out), len(held_out))


def test_the_receipt_says_what_lies_there(make_corpus: MakeCorpus, build: Callable, run: RunFolder) -> None:
    [receipt] = build(
        make_corpus({"laws": ["", "x", *LAWS, LAWS[3]]}, cleaning=["unicode", {"length": {"minimum_characters": 5}}])
    )
    folder = run.shards / "laws"
    assert receipt == json.loads((folder / "receipt.json").read_text())
    assert receipt["tokens"] * 2 == receipt["bytes"] == (folder / "documents.bin").stat().st_size
    assert receipt["dropped"] == {"duplicate": 1, "length.too_short": 1, "no_text": 1}
    assert receipt["examples"]["duplicate"] == [{"place": "laws.jsonl.gz:63", "text": LAWS[3]}]
    assert (receipt["separator_id"], receipt["vocab_size"], receipt["dtype"]) == (8189, 8192, "uint16")
    for name, digest in receipt["files"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    for name, digest in receipt["heldout"]["files"].items():
        assert hashlib.sha256((run.heldout / name).read_bytes()).hexdigest() == digest


def test_a_copy_of_a_held_out_document_is_in_no_shard(
    make_corpus: MakeCorpus, build: Callable, run: RunFolder, encoder: Encoder
) -> None:
    copies = [f"  {text}\r\n" for text in LAWS]
    receipts = build(make_corpus({"laws": LAWS, "decisions": [*copies, *DECISIONS]}, heldout_fraction=0.3))
    held_out = {json.loads(line)["text"] for path in run.heldout.glob("*.jsonl") for line in path.open()}
    trained = [
        text for source in ("laws", "decisions") for text in texts_of(encoder, run.shards / source / "documents")
    ]
    assert not held_out & set(trained)
    assert len(trained) == len(set(trained)) == 100 - len(held_out)
    assert receipts[1]["dropped"] == {"duplicate": 60}


def test_batches_do_not_change_a_byte(
    make_corpus: MakeCorpus, build: Callable, run: RunFolder, monkeypatch: pytest.MonkeyPatch, encoder: Encoder
) -> None:
    corpus = make_corpus({"laws": LAWS}, heldout_fraction=0.2)
    build(corpus)
    monkeypatch.setattr(cleaned, "BATCH_CHARACTERS", 100)
    monkeypatch.setattr(tokenize_part, "BATCH_BYTES", 100)
    monkeypatch.setattr(tokenize_part, "SPOOLED", 50)
    other = RunFolder(run.root.parent / "other")
    build_shards(corpus, encoder, other, Progress(disable=True))
    assert products(run.root) == products(other.root)


def test_a_second_build_writes_nothing(make_corpus: MakeCorpus, build: Callable, run: RunFolder) -> None:
    corpus = make_corpus({"laws": LAWS, "decisions": DECISIONS})
    first = build(corpus)
    times = {path: path.stat().st_mtime_ns for path in run.root.rglob("*")}
    assert build(corpus) == first
    assert {path: path.stat().st_mtime_ns for path in run.root.rglob("*")} == times
    assert shard_sizes(run) == [
        SourceSize("laws", "laws_domain", first[0]["tokens"]),
        SourceSize("decisions", "decisions_domain", first[1]["tokens"]),
    ]


def test_a_changed_source_alone_is_made_again(
    make_corpus: MakeCorpus, build: Callable, run: RunFolder, encoder: Encoder
) -> None:
    build(make_corpus({"a": LAWS[:20], "b": LAWS[20:40], "c": LAWS[40:]}))
    untouched = [(run.shards / name / "documents.bin").stat().st_ino for name in "ac"]
    corpus = make_corpus({"a": LAWS[:20], "b": [*LAWS[20:40], "Ek madde"], "c": LAWS[40:]})
    build(corpus)
    assert [(run.shards / name / "documents.bin").stat().st_ino for name in "ac"] == untouched
    fresh = RunFolder(run.root.parent / "fresh")
    build_shards(corpus, encoder, fresh, Progress(disable=True))
    assert products(run.root) == products(fresh.root)


@pytest.mark.parametrize("lost", ["shards/laws/documents.bin", "shards/laws/receipt.json", "heldout/laws.jsonl"])
def test_a_lost_file_is_made_again(make_corpus: MakeCorpus, build: Callable, run: RunFolder, lost: str) -> None:
    corpus = make_corpus({"laws": LAWS}, heldout_fraction=0.2)
    build(corpus)
    before = snapshot(run.root)
    (run.root / lost).unlink()
    build(corpus)
    assert snapshot(run.root) == before


def test_what_an_earlier_corpus_held_out_is_gone(make_corpus: MakeCorpus, build: Callable, run: RunFolder) -> None:
    build(make_corpus({"laws": LAWS, "decisions": DECISIONS}, heldout_fraction=0.3))
    assert (run.heldout / "decisions.jsonl").exists()
    build(make_corpus({"laws": LAWS}, heldout_fraction=0.3))
    assert sorted(path.name for path in run.heldout.iterdir()) == ["laws.bin", "laws.idx", "laws.jsonl", "receipt.json"]
    assert [size.name for size in shard_sizes(run)] == ["laws"]


def test_a_source_without_documents_has_no_shard(make_corpus: MakeCorpus, build: Callable, run: RunFolder) -> None:
    receipts = build(make_corpus({"laws": LAWS, "empty": []}))
    assert (receipts[1]["documents"], receipts[1]["tokens"], receipts[1]["files"]) == (0, 0, {})
    assert not (run.shards / "empty" / "documents.bin").exists()


def test_a_corpus_without_a_document_is_a_sentence(make_corpus: MakeCorpus, build: Callable) -> None:
    with pytest.raises(UserError, match=r"no usable document \(no_text 1, first at laws\.jsonl\.gz:1\)"):
        build(make_corpus({"laws": [""]}))


def test_nothing_is_built_yet(run: RunFolder) -> None:
    assert shard_sizes(run) == []


DAMAGE = ["shards/laws/documents.bin", "shards/corpus.json", "shards/laws/receipt.json", "heldout/laws.jsonl"]
DAMAGE += ["heldout/receipt.json"]


@pytest.mark.parametrize("damaged", DAMAGE)
def test_a_truncated_file_is_made_again(make_corpus: MakeCorpus, build: Callable, run: RunFolder, damaged: str) -> None:
    corpus = make_corpus({"laws": [f"kanun {number}" for number in range(50)]}, heldout_fraction=0.2)
    build(corpus)
    before = snapshot(run.root)
    path = run.root / damaged
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    build(corpus)
    assert snapshot(run.root) == before


@pytest.mark.parametrize("record", ["shards/laws/receipt.json", "heldout/receipt.json"])
def test_a_record_with_another_number_is_made_again(
    make_corpus: MakeCorpus, build: Callable, run: RunFolder, record: str
) -> None:
    corpus = make_corpus({"laws": LAWS}, heldout_fraction=0.2)
    build(corpus)
    before = (run.root / record).read_bytes()
    (run.root / record).write_bytes(before.replace(b'"documents": ', b'"documents": 1', 1))
    build(corpus)
    assert (run.root / record).read_bytes() == before


def test_shards_that_were_trained_on_are_not_replaced(make_corpus: MakeCorpus, build: Callable, run: RunFolder) -> None:
    corpus = make_corpus({"laws": ["bir kanun", "iki kanun"]}, heldout_fraction=0)
    build(corpus)
    run.lock.write_text("{}")
    build(corpus)
    with pytest.raises(
        UserError, match=r"was trained on other shards \(laws.jsonl.gz changed\); choose another --run folder"
    ):
        build(make_corpus({"laws": ["bir kanun"]}, heldout_fraction=0))


def test_what_was_dropped_is_said_with_its_first_place(make_corpus: MakeCorpus, build: Callable) -> None:
    receipts = build(make_corpus({"laws": ["bir kanun", "", "bir kanun"]}, heldout_fraction=0))
    (line,) = dropped_lines(receipts)
    assert line.startswith("laws: dropped ")
    assert "laws.jsonl.gz:2" in line and "laws.jsonl.gz:3" in line


RAW = {"cleaning": [], "exact_duplicates": "keep"}


def plain_corpus(make_corpus: MakeCorpus, texts: list[str], **settings: object) -> Path:
    """Uncompressed, so that it is cut into parts."""
    corpus = make_corpus({"laws": texts}, **settings)
    packed = corpus.parent / "laws.jsonl.gz"
    (corpus.parent / "laws.jsonl").write_bytes(gzip.decompress(packed.read_bytes()))
    packed.unlink()
    corpus.write_text(corpus.read_text().replace("laws.jsonl.gz", "laws.jsonl"))
    return corpus


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "SMALLEST", 400)


@pytest.mark.slow
@pytest.mark.parametrize("settings", [RAW, {}, {"near_duplicates": {"jaccard": 0.7}}], ids=["raw", "cleaned", "near"])
def test_workers_and_machines_do_not_change_a_byte(
    make_corpus: MakeCorpus, tmp_path: Path, encoder: Encoder, small_parts: None, settings: dict
) -> None:
    corpus = plain_corpus(make_corpus, LAWS, heldout_fraction=0.2, **settings)
    alone, pool, machines = (RunFolder(tmp_path / name) for name in ("alone", "pool", "machines"))
    quiet = Progress(disable=True)
    build_shards(corpus, encoder, alone, quiet, Options(workers=1))
    assert len(read_json(alone.shards / "corpus.json")["parts"]) > 5
    build_shards(corpus, encoder, pool, quiet, Options(workers=2))
    assert snapshot(pool.root) == snapshot(alone.root)
    left = [prepare(corpus, encoder, machines, quiet, Options(1, Share(rank, 3))).parts_left for rank in (2, 0, 1)]
    assert left[-1] == 0 and (settings == RAW or left[0] > left[1] > 0)
    assert snapshot(machines.root) == snapshot(alone.root)


def test_a_raw_corpus_gives_every_document_as_it_is(
    make_corpus: MakeCorpus, build: Callable, run: RunFolder, encoder: Encoder, small_parts: None
) -> None:
    texts = ["  iki  boşluk \n", *LAWS, LAWS[0]]
    (receipt,) = build(plain_corpus(make_corpus, texts, heldout_fraction=0, **RAW))
    assert texts_of(encoder, run.shards / "laws" / "documents") == texts
    assert not run.clean.exists() and receipt["dropped"] == {}


def test_raw_text_that_spells_the_separator_is_counted(make_corpus: MakeCorpus, build: Callable) -> None:
    texts = [*LAWS[:3], "bir <|endoftext|> iki", *LAWS[3:]]
    for settings in (RAW, {}):
        (receipt,) = build(make_corpus({"laws": texts}, heldout_fraction=0, **settings))
        assert receipt["dropped"] == {"contains_separator": 1}
        assert receipt["examples"]["contains_separator"][0]["place"] == "laws.jsonl.gz:4"
        assert receipt["documents"] == len(LAWS)


@pytest.mark.parametrize("settings", [RAW, {}], ids=["raw", "cleaned"])
def test_a_rewritten_file_is_noticed_and_a_touched_one_is_not(
    make_corpus: MakeCorpus, build: Callable, run: RunFolder, settings: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = plain_corpus(make_corpus, LAWS, heldout_fraction=0, **settings)
    build(corpus)
    shard = run.shards / "laws" / "documents.bin"
    inode, file = shard.stat().st_ino, corpus.parent / "laws.jsonl"
    os.utime(file)
    build(corpus)
    assert shard.stat().st_ino == inode
    monkeypatch.setattr(identity, "_digest", None)  # what was compared by content once is not read again
    build(corpus)
    monkeypatch.undo()
    file.write_text(file.read_text().replace("Kanun 7 ", "Kanun 8 "))  # of the same size
    build(corpus)
    assert shard.stat().st_ino != inode


def test_lines_of_later_parts_are_those_of_the_file(
    make_corpus: MakeCorpus, build: Callable, small_parts: None
) -> None:
    texts = [*LAWS[:50], "", *LAWS[50:], LAWS[0]]
    (receipt,) = build(plain_corpus(make_corpus, texts, heldout_fraction=0))
    assert [example["place"] for example in receipt["examples"]["no_text"]] == ["laws.jsonl:51"]
    assert [example["place"] for example in receipt["examples"]["duplicate"]] == ["laws.jsonl:62"]


@pytest.mark.parametrize("settings", [RAW, {}], ids=["raw", "cleaned"])
def test_strict_stops_at_the_first_document_that_cannot_be_read(
    make_corpus: MakeCorpus, encoder: Encoder, run: RunFolder, small_parts: None, settings: dict
) -> None:
    corpus = plain_corpus(make_corpus, [*LAWS[:50], "", *LAWS[50:]], heldout_fraction=0, **settings)
    with pytest.raises(UserError, match=r"laws\.jsonl:51: no_text"):
        build_shards(corpus, encoder, run, Progress(disable=True), Options(strict=True))
    assert not (run.shards / "laws").exists()
    assert build_shards(corpus, encoder, run, Progress(disable=True))[0]["documents"] == 60
    with pytest.raises(UserError, match=r"laws\.jsonl:51: no_text"):
        build_shards(corpus, encoder, run, Progress(disable=True), Options(strict=True))


def test_a_change_that_was_begun_and_taken_back_leaves_no_held_out_document_in_training(
    make_corpus: MakeCorpus, encoder: Encoder, run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = {"a": LAWS, "b": [*LAWS, *DECISIONS]}  # the same documents, so that both hold the same ones out
    settings = {"exact_duplicates": "keep"}
    quiet = Progress(disable=True)
    build_shards(make_corpus(sources, heldout_fraction=0.3, **settings), encoder, run, quiet)
    before = products(run.root)

    def stop_at_b(job: Preparation, source: Source, *rest: object) -> None:
        if source.name == "b":
            raise UserError("stopped.")
        build_source(job, source, *rest)

    monkeypatch.setattr(shards, "build_source", stop_at_b)
    with pytest.raises(UserError, match="stopped"):
        build_shards(make_corpus(sources, heldout_fraction=0.0, **settings), encoder, run, quiet)
    monkeypatch.undo()
    build_shards(make_corpus(sources, heldout_fraction=0.3, **settings), encoder, run, quiet)
    assert products(run.root) == before


def test_a_file_that_is_gone_in_the_middle_ends_all_workers(
    make_corpus: MakeCorpus, encoder: Encoder, run: RunFolder, small_parts: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = make_corpus({f"s{number}": LAWS[:4] for number in range(6)}, heldout_fraction=0, **RAW)
    listed = yaml.safe_load(corpus.read_text())
    listed["sources"] = [{**listed["sources"][0], "files": [f"s{number}.jsonl.gz" for number in range(6)]}]
    corpus.write_text(yaml.safe_dump(listed))

    def start_without(encoder: Encoder, turn: Turn) -> None:
        (corpus.parent / "s4.jsonl.gz").unlink(missing_ok=True)
        set_up(encoder, turn)

    monkeypatch.setattr(shards, "set_up", start_without)
    with pytest.raises(UserError, match=r"s4\.jsonl\.gz cannot be read"):
        build_shards(corpus, encoder, run, Progress(disable=True), Options(workers=1))


@pytest.mark.parametrize("lost", ["selection/laws/00000.npy", "clean/laws/00000/documents.parquet"])
def test_lost_work_is_done_again(make_corpus: MakeCorpus, build: Callable, run: RunFolder, lost: str) -> None:
    corpus = make_corpus({"laws": LAWS}, heldout_fraction=0.2)
    build(corpus)
    before = products(run.root)
    (run.root / lost).unlink()
    (run.shards / "laws" / "receipt.json").unlink()
    build(corpus)
    assert products(run.root) == before


def test_what_changed_is_named(make_corpus: MakeCorpus, encoder: Encoder, run: RunFolder) -> None:
    screen = io.StringIO()
    progress = Progress(console=Console(file=screen), disable=True)

    def said(corpus: Path) -> str:
        screen.truncate(0)
        screen.seek(0)
        build_shards(corpus, encoder, run, progress)
        return screen.getvalue().removesuffix(": what depends on it is built again\n")

    corpus = plain_corpus(make_corpus, LAWS, heldout_fraction=0)
    assert said(corpus) == ""
    (corpus.parent / "laws.jsonl").open("a").write('{"text": "Ek madde"}\n')
    assert said(corpus) == "laws.jsonl changed"
    (run.shards / "laws" / "documents.idx").unlink()
    assert said(corpus) == f"{run.shards / 'laws' / 'documents.idx'} is missing or damaged"
    corpus.write_text(corpus.read_text().replace("licence: none", "licence: CC0"))
    assert said(corpus) == "the corpus file's sources.laws.licence (none -> CC0) changed"
    (run.shards / "corpus.json").unlink()  # as if it had been killed before the end
    corpus.write_text(corpus.read_text() + "cleaning: [unicode, {length: {minimum_characters: 9}}]\n")
    assert said(corpus) == "the cleaning of laws: steps.1.length.minimum_characters (1 -> 9) changed"
    assert said(corpus) == ""
