"""The bundled sample: its licences, its size, its held-out part and what the small tokenizer was trained on."""

import gzip
import json

import pytest

from data_prep.bundled import SAMPLE
from data_prep.corpus import load_corpus
from data_prep.encode import Encoder
from data_prep.indexed import read_index
from data_prep.shard_receipts import shard_sizes
from recipes.layout import RunFolder

FILES = sorted(SAMPLE.parent.glob("*.jsonl.gz"))
SHARE_ALIKE = ("UniversalDependencies", "wiki", "d2l-ai", "stacks")


def test_it_stays_small() -> None:
    assert 3e6 < sum(path.stat().st_size for path in FILES) < 5e6


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_repository_is_in_the_notice_and_none_is_share_alike(path) -> None:
    notice = (SAMPLE.parent / "NOTICE.md").read_text(encoding="utf-8")
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        repositories = {json.loads(line)["source"].partition(":")[0] for line in stream}
    assert all(repository in notice for repository in repositories)
    assert not any(name in repository for repository in repositories for name in SHARE_ALIKE)


def test_every_source_trains_and_holds_out(sample_run: RunFolder) -> None:
    sizes = shard_sizes(sample_run)
    assert [size.name for size in sizes] == [source.name for source in load_corpus(SAMPLE).sources]
    assert all(size.tokens > 50_000 for size in sizes)
    assert sum(size.tokens for size in sizes if size.domain == "legal") > 1_500_000
    for size in sizes:
        assert read_index(sample_run.heldout / size.name).tokens > 1_000


def test_the_small_tokenizer_is_made_for_this_text(sample_run: RunFolder, encoder: Encoder) -> None:
    for source in ("laws", "decisions", "general_tr"):
        lines = (sample_run.heldout / f"{source}.jsonl").read_text(encoding="utf-8").splitlines()
        characters = sum(len(json.loads(line)["text"]) for line in lines)
        assert 3 < characters / read_index(sample_run.heldout / source).tokens < 5
