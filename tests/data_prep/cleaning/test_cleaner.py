"""The runner and its account."""

import json
import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from data_prep.cleaning import account
from data_prep.cleaning.account import AROUND, SAMPLES, merge_accounts
from data_prep.cleaning.cleaner import Cleaner
from data_prep.cleaning.registry import parse_steps
from data_prep.ingest.document import Document, Dropped

STEPS = parse_steps([{"length": {"minimum_characters": 4}}, "unicode", {"length": {"minimum_words": 2}}])


def run(documents: list[Document]) -> tuple[list[str | None], Dropped, dict[str, Any]]:
    cleaner, dropped = Cleaner(STEPS, "tr"), Dropped()
    texts = [cleaner.clean(document, dropped) for document in documents]
    return texts, dropped, json.loads(json.dumps(cleaner.account()))


def documents_of(texts: list[str]) -> list[Document]:
    return [Document(text, "a.jsonl", line) for line, text in enumerate(texts, 1)]


def test_texts_and_counts() -> None:
    texts, dropped, found = run(documents_of(["bir iki", "\x00bir\x00 iki ", "ab", "birikiüç", "üç dört"]))
    assert texts == ["bir iki", "bir iki", None, None, "üç dört"]
    assert dropped.counts == {"length.too_short": 1, "length.few_words": 1}
    assert [example.line for example in dropped.examples["length.few_words"]] == [4]
    first, unicode, last = found["steps"]
    assert (first["step"], first["documents"], first["dropped"]) == ("length", 5, {"length.too_short": 1})
    assert (unicode["documents"], unicode["changed"], unicode["characters_removed"]) == (4, 1, 3)
    assert unicode["samples"]["changed"][0] | {"digest": ""} == {
        "digest": "", "file": "a.jsonl", "line": 2, "before": "\x00bir\x00 iki ", "after": "bir iki",
    }  # fmt: skip
    assert (last["documents"], last["dropped"]) == (4, {"length.few_words": 1})
    assert last["samples"]["length.few_words"][0]["before"] == "birikiüç"


def test_an_excerpt_shows_the_first_change() -> None:
    _, _, found = run(documents_of(["a " * 5_000 + "\x00" + "b " * 5_000]))
    (sample,) = found["steps"][1]["samples"]["changed"]
    assert sample["before"] == "a " * (AROUND // 2) + "\x00" + ("b " * AROUND)[: AROUND - 1]
    assert sample["after"] == "a " * (AROUND // 2) + "b " * (AROUND // 2)


def test_samples_depend_on_the_documents_alone() -> None:
    """Any order, any cut into parts, any order of the parts: one account."""
    documents = documents_of([f"belge {number}\x00" for number in range(40)] + ["x", "yy"] + ["aynı belge\x00"] * 20)
    _, _, whole = run(documents)
    assert len(whole["steps"][1]["samples"]["changed"]) == SAMPLES
    for seed in range(5):
        dice = random.Random(seed)
        cuts = sorted(dice.sample(range(len(documents)), 3))
        parts = [documents[start:end] for start, end in zip([0, *cuts], [*cuts, None], strict=True)]
        dice.shuffle(parts)
        assert merge_accounts([run(part)[2] for part in parts]) == whole


def test_the_sampled_ones_have_the_smallest_digests() -> None:
    documents = documents_of([f"belge {number}\x00" for number in range(30)])
    digests = sorted(run([document])[2]["steps"][1]["samples"]["changed"][0]["digest"] for document in documents)
    found = run(documents)[2]["steps"][1]["samples"]["changed"]
    assert [sample["digest"] for sample in found] == digests[:SAMPLES]


def test_merging_nothing() -> None:
    assert merge_accounts([]) == {"steps": []}


@given(st.text("ab"), st.text("ab"))
def test_common_prefix(one: str, other: str) -> None:
    found = account._common_prefix(one, other)
    assert one[:found] == other[:found]
    assert one[found : found + 1] != other[found : found + 1] or found == len(one) == len(other)


def test_a_lone_surrogate_is_no_error() -> None:
    assert run([Document("\ud800 bir\x00", "a", 1)])[0] == ["\ud800 bir"]
