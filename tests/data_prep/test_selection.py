"""What is decided over all sources, through the whole preparation: duplicates, near-duplicates, contamination."""

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.progress import Progress

from data_prep.digest import content_digest, held_out_below
from data_prep.encode import Encoder
from data_prep.preparation import Options
from data_prep.shard_receipts import Receipt
from data_prep.shards import build_shards
from recipes.artifacts import read_json
from recipes.errors import UserError
from recipes.layout import RunFolder

MakeCorpus = Callable[..., Path]
WORDS = [f"kelime{number}" for number in range(400)]


def document(seed: int, words: int = 200) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=words))


def changed(text: str, every: int) -> str:
    """`text` with every so many words replaced."""
    return " ".join(f"başka{n}" if n % every == 0 else word for n, word in enumerate(text.split(), 1))


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run")


@pytest.fixture
def build(encoder: Encoder, run: RunFolder) -> Callable[[Path], dict[str, Receipt]]:
    def build(corpus: Path) -> dict[str, Receipt]:
        receipts = build_shards(corpus, encoder, run, Progress(disable=True), Options(workers=1))
        return {receipt["source"]: receipt for receipt in receipts}

    return build


TEXTS = [document(seed) for seed in range(30)]


def test_near_duplicates_of_an_earlier_source_go(make_corpus: MakeCorpus, build: Callable, run: RunFolder) -> None:
    near, far = changed(TEXTS[3], 60), changed(TEXTS[5], 6)
    sources = {"laws": TEXTS, "web": [document(100), near, far, TEXTS[7]]}
    receipts = build(make_corpus(sources, heldout_fraction=0, near_duplicates={"jaccard": 0.7}))
    assert receipts["laws"]["dropped"] == {}
    assert receipts["web"]["dropped"] == {"duplicate": 1, "near_duplicate": 1}
    assert receipts["web"]["examples"]["near_duplicate"] == [{"place": "web.jsonl.gz:2", "text": near[:400]}]
    (pair,) = read_json(run.selection / "receipt.json")["shown"]["near_duplicate"]
    assert (pair["document"]["text"], pair["kept"]["text"]) == (near[:400], TEXTS[3][:400])
    page = run.data_report.read_text()
    assert near[:100] in page and pair["measure"] in page


def test_what_repeats_a_held_out_document_goes(make_corpus: MakeCorpus, build: Callable, run: RunFolder) -> None:
    build(make_corpus({"laws": TEXTS}, heldout_fraction=0.3))
    held_out = [json.loads(line)["text"] for line in (run.heldout / "laws.jsonl").open()]
    assert len(held_out) > 3
    candidates = (f"{document(seed)} {held_out[0]} {document(201)}" for seed in range(200, 300))
    longer = next(text for text in candidates if content_digest(text) >= held_out_below(0.3))
    sources = {"laws": TEXTS, "web": [longer, *(document(seed) for seed in range(300, 310))]}
    options = {"heldout_fraction": 0.3, "decontaminate": {}}
    receipts = build(make_corpus(sources, **options))
    assert receipts["web"]["dropped"] == {"contaminated": 1}
    assert receipts["laws"]["dropped"] == {}
    (shown,) = read_json(run.selection / "receipt.json")["shown"]["contaminated"]
    assert "<h2>Contaminated documents that go" in run.data_report.read_text()
    assert shown["kept"]["source"] == "held out, laws, laws.jsonl.gz"


def test_what_holds_an_evaluation_item_goes(make_corpus: MakeCorpus, build: Callable) -> None:
    question, answer = document(400, 30), document(401, 20)
    laws = [*TEXTS, f"{document(402)} {question} {answer}"]
    options = {"decontaminate": {"evaluation_sets": ["exam.jsonl"], "fields": ["question", "answer"]}}
    corpus = make_corpus({"laws": laws}, heldout_fraction=0, **options)
    exam = corpus.parent / "exam.jsonl"
    exam.write_text(json.dumps({"question": question, "answer": answer}) + "\n")
    assert build(corpus)["laws"]["dropped"] == {"contaminated": 1}
    exam.write_text(json.dumps({"question": document(500, 50)}) + "\n")  # another exam: all is decided again
    assert build(corpus)["laws"]["dropped"] == {}


def test_many_questions_about_one_passage_do_not_make_it_boilerplate(make_corpus: MakeCorpus, build: Callable) -> None:
    passage = document(600)
    options = {"decontaminate": {"evaluation_sets": ["exam.jsonl"], "fields": ["context", "question"]}}
    corpus = make_corpus({"laws": [*TEXTS, passage]}, heldout_fraction=0, **options)
    rows = [{"context": passage, "question": document(700 + number, 8)} for number in range(12)]
    (corpus.parent / "exam.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert build(corpus)["laws"]["dropped"] == {"contaminated": 1}


def test_two_evaluation_sets_of_one_name_are_two(make_corpus: MakeCorpus, build: Callable) -> None:
    options = {"decontaminate": {"evaluation_sets": ["x/exam.jsonl", "y/exam.jsonl"]}}
    corpus = make_corpus({"laws": TEXTS}, heldout_fraction=0, **options)
    for name in "xy":
        (corpus.parent / name).mkdir()
        (corpus.parent / name / "exam.jsonl").write_text(json.dumps({"text": document(800)}) + "\n")
    assert build(corpus)["laws"]["dropped"] == {}
    (corpus.parent / "x" / "exam.jsonl").write_text(json.dumps({"text": TEXTS[2]}) + "\n")
    assert build(corpus)["laws"]["dropped"] == {"contaminated": 1}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "there is no file 'exam.jsonl'"),
        ("{", r"exam\.jsonl, row 1: it is not JSON"),
        ('{"other": "x"}', "row 1: it has no text in question"),
    ],
)
def test_a_bad_evaluation_set_is_a_sentence(
    make_corpus: MakeCorpus, build: Callable, content: str | None, sentence: str
) -> None:
    options = {"decontaminate": {"evaluation_sets": ["exam.jsonl"], "fields": ["question"]}}
    corpus = make_corpus({"laws": TEXTS[:3]}, **options)
    if content:
        (corpus.parent / "exam.jsonl").write_text(content)
    with pytest.raises(UserError, match=sentence):
        build(corpus)


def test_a_semantic_model_is_never_fetched(make_corpus: MakeCorpus, build: Callable) -> None:
    with pytest.raises(UserError, match="semantic_duplicates"):
        build(make_corpus({"laws": TEXTS}, semantic_duplicates={"model": "minishlab/potion-base-8M"}))
