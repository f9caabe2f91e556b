"""The corpus schema refuses what it does not know, by the name of the field."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from data_prep.bundled import SAMPLE
from data_prep.corpus import load_corpus, source_files
from recipes.errors import UserError

SOURCE = {"name": "laws", "domain": "legal", "files": ["a.jsonl"], "language": "tr", "licence": "none"}


def write(folder: Path, *sources: dict[str, Any], **settings: Any) -> Path:
    path = folder / "corpus.yaml"
    path.write_text(yaml.safe_dump({"name": "made", "sources": list(sources), **settings}), encoding="utf-8")
    return path


def test_the_sample_is_valid_and_its_files_are_there() -> None:
    corpus = load_corpus(SAMPLE)
    assert {source.domain for source in corpus.sources} == {"legal", "general", "replay"}
    assert all(source_files(SAMPLE, source) for source in corpus.sources)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"domian": "x"}, "unknown field `sources.1.domian`, did you mean 'domain'"),
        ({"name": "12"}, "sources.1.name"),
        ({"files": ["a.csv"]}, "end in .jsonl, .jsonl.gz"),
        ({"files": []}, "expected either `files` or `dataset`"),
        ({"dataset": "org/name"}, "expected either `files` or `dataset`"),
        ({"split": "train"}, "`split` and `config` belong to a `dataset`"),
        ({"cleaning": ["unicod"]}, "unknown cleaning step 'unicod', did you mean 'unicode'"),
        ({"cleaning": [{"length": {"minimum_character": 3}}]}, "did you mean 'minimum_characters'"),
        ({"cleaning": "turkish_lega"}, "unknown preset 'turkish_lega', did you mean 'turkish_legal'"),
    ],
)
def test_a_wrong_field_is_named(tmp_path: Path, change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence.replace(".", r"\.")):
        load_corpus(write(tmp_path, {**SOURCE, **change}))


def test_heldout_fraction_is_below_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="heldout_fraction"):
        load_corpus(write(tmp_path, SOURCE, heldout_fraction=1))


def test_a_mixture_key_must_mean_one_thing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'laws' twice"):
        load_corpus(write(tmp_path, SOURCE, SOURCE))
    with pytest.raises(UserError, match="another's domain"):
        load_corpus(write(tmp_path, SOURCE, {**SOURCE, "name": "other", "domain": "laws"}))
    assert load_corpus(write(tmp_path, {**SOURCE, "domain": "laws"})).sources[0].domain == "laws"


def test_missing_corpus_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        load_corpus(tmp_path / "none.yaml")


def test_globs_are_sorted_and_may_be_absolute_or_climb(tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    folder.mkdir()
    for name in ("b.jsonl", "a.jsonl", "c[1].jsonl"):
        (folder / name).write_text("")
    for pattern in ("[ab].jsonl", str(folder / "[ab].jsonl"), "../corpus/[ab].jsonl"):
        corpus = write(folder, {**SOURCE, "files": [pattern, "c[1].jsonl"]})
        found = source_files(corpus, load_corpus(corpus).sources[0])
        assert [path.name for path in found] == ["a.jsonl", "b.jsonl", "c[1].jsonl"]


@pytest.mark.parametrize(
    ("files", "sentence"), [(["x*.jsonl"], "no file 'x"), (["a.jsonl", "*.jsonl"], "one file twice")]
)
def test_wrong_files_are_a_sentence(tmp_path: Path, files: list[str], sentence: str) -> None:
    (tmp_path / "a.jsonl").write_text("")
    corpus = write(tmp_path, {**SOURCE, "files": files})
    with pytest.raises(UserError, match=sentence):
        source_files(corpus, load_corpus(corpus).sources[0])


def test_a_source_may_be_cleaned_in_its_own_way(tmp_path: Path) -> None:
    own = {**SOURCE, "name": "theses", "cleaning": ["unicode"]}
    corpus = load_corpus(write(tmp_path, SOURCE, own, cleaning=["unicode", {"length": {"minimum_characters": 5}}]))
    assert [[step.name for step in corpus.steps(source)] for source in corpus.sources] == [
        ["unicode", "length"],
        ["unicode"],
    ]
    dumped = corpus.model_dump(mode="json")
    assert [list(step) for step in dumped["sources"][1]["cleaning"]] == [["unicode"]]
    assert dumped["cleaning"][1] == {"length": {**dumped["cleaning"][1]["length"], "minimum_characters": 5}}


def test_a_corpus_that_asks_for_tokens_alone_is_not_cleaned(tmp_path: Path) -> None:
    raw = {"cleaning": [], "exact_duplicates": "keep"}
    assert not load_corpus(write(tmp_path, SOURCE, **raw)).cleans
    for more in ({"cleaning": ["unicode"]}, {"exact_duplicates": "drop"}, {"near_duplicates": {}}):
        assert load_corpus(write(tmp_path, SOURCE, **{**raw, **more})).cleans
