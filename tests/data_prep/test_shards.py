"""Shards of small corpora: what is in them, what is held out, what is skipped and what is made again."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.progress import Progress

from data_prep import source_shard
from data_prep.clean import content_digest, is_held_out
from data_prep.encode import Encoder
from data_prep.indexed import read_document, read_index, read_tokens
from data_prep.shards import Receipt, build_shards, dropped_lines, shard_sizes
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
        if path.is_file()
    }


def test_every_document_is_in_the_shard_or_held_out(
    make_corpus: MakeCorpus, build: Callable, run: RunFolder, encoder: Encoder
) -> None:
    receipts = build(make_corpus({"laws": LAWS}, heldout_fraction=0.2))
    expected = [is_held_out(content_digest(text), 0.2) for text in LAWS]
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
    [receipt] = build(make_corpus({"laws": ["", "x", *LAWS, LAWS[3]]}, minimum_characters=5))
    folder = run.shards / "laws"
    assert receipt == json.loads((folder / "receipt.json").read_text())
    assert receipt["tokens"] * 2 == receipt["bytes"] == (folder / "documents.bin").stat().st_size
    assert receipt["dropped"] == {"duplicate": 1, "no_text": 1, "too_short": 1}
    assert receipt["dropped_at"]["duplicate"] == ["laws.jsonl.gz:63"]
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
    monkeypatch.setattr(source_shard, "BATCH_CHARACTERS", 100)
    other = RunFolder(run.root.parent / "other")
    build_shards(corpus, encoder, other, Progress(disable=True))
    assert snapshot(run.root) == snapshot(other.root)


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


def test_a_changed_source_and_those_after_it_are_made_again(
    make_corpus: MakeCorpus, build: Callable, run: RunFolder, encoder: Encoder
) -> None:
    build(make_corpus({"a": LAWS[:20], "b": LAWS[20:40], "c": LAWS[40:]}))
    untouched = (run.shards / "a" / "documents.bin").stat().st_ino
    corpus = make_corpus({"a": LAWS[:20], "b": [*LAWS[20:40], LAWS[50]], "c": LAWS[40:]})
    build(corpus)
    assert (run.shards / "a" / "documents.bin").stat().st_ino == untouched
    fresh = RunFolder(run.root.parent / "fresh")
    build_shards(corpus, encoder, fresh, Progress(disable=True))
    assert snapshot(run.root) == snapshot(fresh.root)


@pytest.mark.parametrize("lost", ["shards/laws/documents.bin", "shards/laws/digests.npy", "heldout/laws.jsonl"])
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


DAMAGE = ["shards/laws/documents.bin", "shards/laws/digests.npy", "shards/laws/receipt.json", "heldout/laws.jsonl"]


@pytest.mark.parametrize("damaged", DAMAGE)
def test_a_truncated_file_is_made_again(make_corpus: MakeCorpus, build: Callable, run: RunFolder, damaged: str) -> None:
    corpus = make_corpus({"laws": [f"kanun {number}" for number in range(50)]}, heldout_fraction=0.2)
    build(corpus)
    before = snapshot(run.root)
    path = run.root / damaged
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    build(corpus)
    assert snapshot(run.root) == before


def test_shards_that_were_trained_on_are_not_replaced(make_corpus: MakeCorpus, build: Callable, run: RunFolder) -> None:
    corpus = make_corpus({"laws": ["bir kanun", "iki kanun"]}, heldout_fraction=0)
    build(corpus)
    run.lock.write_text("{}")
    build(corpus)
    with pytest.raises(UserError, match="was trained on other shards of laws; choose another --run folder"):
        build(make_corpus({"laws": ["bir kanun"]}, heldout_fraction=0))


def test_what_was_dropped_is_said_with_its_first_place(make_corpus: MakeCorpus, build: Callable) -> None:
    receipts = build(make_corpus({"laws": ["bir kanun", "", "bir kanun"]}, heldout_fraction=0))
    (line,) = dropped_lines(receipts)
    assert line.startswith("laws: dropped ")
    assert "laws.jsonl.gz:2" in line and "laws.jsonl.gz:3" in line
