"""Against sets of words, and with passages of held-out laws inside real court decisions."""

import gzip
import json
import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from data_prep.bundled import SAMPLE
from data_prep.dedup.decontaminate import Decontaminate, Matcher, build_index, item_text
from data_prep.digest import content_digest

MEMORY = 1 << 20
WORDS = st.lists(st.sampled_from("abcd"), max_size=25).map(" ".join)


@pytest.fixture(scope="session")
def laws() -> list[str]:
    return sample_texts("laws")


@pytest.fixture(scope="session")
def decisions() -> list[str]:
    return sample_texts("decisions")


def sample_texts(source: str) -> list[str]:
    with gzip.open(SAMPLE.parent / f"{source}.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line)["text"] for line in lines]


def matcher(items: list[str], folder: Path, **options: object) -> Matcher:
    chosen = Decontaminate(**options)  # type: ignore[arg-type]
    build_index([(f"item {number}", text) for number, text in enumerate(items)], chosen, folder, MEMORY)
    return Matcher(folder, chosen)


def grams(text: str, n: int) -> list[tuple[str, ...]]:
    words = text.split()
    return [tuple(words[start : start + n]) for start in range(len(words) - n + 1)]


def expected(items: list[str], text: str, options: Decontaminate) -> tuple[str, float, float] | None:
    """Item, share of the item, share of the document: by sets."""
    sizes = [min(len(item.split()), options.ngram) for item in items]
    wanted = [
        set(grams(item, size)) if size >= options.minimum_words else set()
        for item, size in zip(items, sizes, strict=True)
    ]
    number = Counter(gram for item in wanted for gram in item)
    best = None
    for index, (item, size) in enumerate(zip(wanted, sizes, strict=True)):
        here = [gram for gram in grams(text, size) if gram in item and number[gram] <= options.boilerplate]
        if here:
            running = max(len(text.split()) - options.ngram + 1, 1)
            shares = len(set(here)) / len(item), len(here) / running
            if max(shares) >= options.coverage and (best is None or max(shares) > max(best[1:])):
                best = (f"item {index}", *shares)
    return best


@pytest.mark.slow
@settings(max_examples=20)
@given(
    st.lists(WORDS, max_size=12),
    st.lists(WORDS, max_size=8),
    st.builds(
        Decontaminate,
        ngram=st.just(4),
        minimum_words=st.integers(1, 4),
        coverage=st.sampled_from([0.01, 0.3, 0.5, 1.0]),
        boilerplate=st.integers(1, 4),
    ),
)
def test_matches_are_those_of_sets(
    tmp_path_factory: pytest.TempPathFactory, items: list[str], texts: list[str], options: Decontaminate
) -> None:
    found = matcher(items, tmp_path_factory.mktemp("index") / "index", **options.model_dump()).contaminated(texts)
    assert [match and match[:3] for match in found] == [expected(items, text, options) for text in texts]


@pytest.mark.parametrize(("part", "goes"), [(0.6, False), (0.75, False), (0.85, True), (1.0, True)])
def test_a_passage_of_a_held_out_law_inside_a_decision(
    part: float, goes: bool, laws: list[str], decisions: list[str], tmp_path: Path
) -> None:
    law = next(text for text in laws if 300 <= len(text.split()) <= 600)
    words = law.split()
    start = (len(words) - int(part * len(words))) // 2
    passage = " ".join(words[start : start + int(part * len(words))])
    planted = f"{decisions[0]}\n{passage}\n{decisions[1]}"
    match = matcher([law], tmp_path / "index").match(planted)
    assert (match is not None) == goes
    if match:
        assert match.of_item == pytest.approx(part, abs=0.05)
        assert match.of_document < 0.8
        assert " ".join(match.example.split()[:3]).strip(",.;:'’\"()") in " ".join(words)


def test_a_passage_cut_out_of_a_held_out_law(laws: list[str], tmp_path: Path) -> None:
    longest = max(laws, key=len)
    match = matcher(laws, tmp_path / "index").match(longest[len(longest) // 2 :][:2000])
    assert match is not None and match.item == f"item {laws.index(longest)}"
    assert match.of_document > 0.95 and match.of_item < 0.5


def test_an_evaluation_item_in_a_decision_is_found_however_it_is_set(decisions: list[str], tmp_path: Path) -> None:
    row = {
        "question": "Türk Ceza Kanunu'nun 53. maddesinin Anayasa Mahkemesi'nce iptali üzerine hangi işlem yapılır?",
        "choices": {"text": ["İlk derece mahkemesi yeniden hüküm kurar", "Yargıtay düzeltir"], "label": ["A", "B"]},
        "answer": 1,
    }
    item = item_text(row, ["question", "choices", "answer", "source"])
    assert item.split("\n")[1:] == [*row["choices"]["text"], "A", "B"]  # type: ignore[index]
    found = matcher([item], tmp_path / "index")
    assert found.match(f"{decisions[0]} {item.upper().replace(' ', '  ')} {decisions[1]}") is not None
    assert found.contaminated(decisions) == [None] * len(decisions)


def test_boilerplate_is_no_sign_of_an_item(tmp_path: Path) -> None:
    rule = "Bu Kanunun yayımı tarihinde yürürlüğe giren hükümlerini Cumhurbaşkanı yürütür ve buna ilişkin esasları."
    items = [f"{rule} {' '.join(f'madde{item}x{number}' for number in range(30))}" for item in range(11)]
    assert matcher(items, tmp_path / "many").match(rule) is None
    match = matcher(items[:10], tmp_path / "few").match(rule)
    assert match is not None and match.item == "item 0" and match.example == rule.rstrip(".")


def test_short_items_are_matched_whole_or_not_at_all(tmp_path: Path) -> None:
    eight = "hangi mahkeme bu davaya bakmakla görevli ve yetkilidir"
    found = matcher([eight, "davaya hangi mahkeme bakar"], tmp_path / "index")
    match = found.match(f"Soru: {eight}? Cevap aşağıdadır.")
    assert match is not None and match[:2] == ("item 0", 1.0)
    assert found.match(f"Soru: {eight[:-12]}? Davaya hangi mahkeme bakar?") is None


def test_the_answers_do_not_depend_on_how_texts_are_batched(
    laws: list[str], decisions: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [*laws[::2], *decisions[::20]]
    options = {"coverage": 0.2, "boilerplate": 3}
    together = matcher([*laws[1::2], *decisions[::7]], tmp_path / "index", **options).contaminated(texts)
    monkeypatch.setattr("data_prep.dedup.item_index._BATCH", 5000)
    apart = matcher([*laws[1::2], *decisions[::7]], tmp_path / "again", **options)
    shuffled = random.Random(0).sample(range(len(texts)), len(texts))
    again = dict(zip(shuffled, apart.contaminated([texts[number] for number in shuffled]), strict=True))
    assert [again[number] for number in range(len(texts))] == together
    assert 0 < sum(match is not None for match in together) < len(texts)
    assert {path.name: path.read_bytes() for path in (tmp_path / "index").iterdir()} == {
        path.name: path.read_bytes() for path in (tmp_path / "again").iterdir()
    }


def test_no_items_match_nothing(tmp_path: Path) -> None:
    assert matcher([], tmp_path / "none").contaminated(["a b c", ""]) == [None, None]
    assert matcher(["", "- ?"], tmp_path / "empty").match("a b c") is None


def test_short_items_cannot_be_longer_than_an_ngram() -> None:
    with pytest.raises(ValidationError, match=r"minimum_words \(14\) must not exceed ngram \(13\)"):
        Decontaminate(minimum_words=14)


@pytest.mark.slow
def test_real_laws_and_decisions_stay(tmp_path: Path) -> None:
    """With 3 % held out, what goes is a decision written over again, never a law."""
    folder = Path(__file__).parents[3].parent / "shared" / "data" / "legal"
    if not folder.is_dir():
        pytest.skip(f"there is no {folder}")
    documents: dict[str, list[str]] = {"items": []}
    for path in sorted(folder.glob("*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            texts = list(dict.fromkeys(json.loads(line)["text"].strip() for line in lines))
        held_out = [content_digest(text) < 0.03 * 2**64 for text in texts]
        documents["items"] += [text for text, out in zip(texts, held_out, strict=True) if out]
        documents[path.name] = [text for text, out in zip(texts, held_out, strict=True) if not out]
    found = matcher(documents.pop("items"), tmp_path / "index")
    dropped = {name: sum(match is not None for match in found.contaminated(texts)) for name, texts in documents.items()}
    assert dropped["laws.jsonl.gz"] == 0
    assert 10 <= sum(dropped.values()) <= 40
