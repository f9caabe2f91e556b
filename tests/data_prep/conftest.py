"""Small corpora, and the sample corpus built once."""

import gzip
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import yaml
from hypothesis import settings
from rich.progress import Progress

from data_prep.bundled import SAMPLE
from data_prep.encode import Encoder
from data_prep.shards import build_shards
from recipes.layout import RunFolder

settings.register_profile("data_prep", deadline=None, max_examples=12)  # a shared machine's timing says nothing
settings.load_profile("data_prep")

SEPARATOR = "<|endoftext|>"
BPE8K = SAMPLE.parent / "tokenizers" / "bpe8k"
MakeCorpus = Callable[..., Path]


@pytest.fixture(scope="session")
def encoder() -> Encoder:
    return Encoder(BPE8K, SEPARATOR)


@pytest.fixture
def quiet() -> Progress:
    return Progress(disable=True)


@pytest.fixture(scope="session")
def sample_run(tmp_path_factory: pytest.TempPathFactory, encoder: Encoder) -> RunFolder:
    """A run folder with the shards of the bundled sample; tests must not change it."""
    run = RunFolder(tmp_path_factory.mktemp("sample"))
    build_shards(SAMPLE, encoder, run, Progress(disable=True))
    return run


@pytest.fixture
def make_corpus(tmp_path: Path) -> MakeCorpus:
    """Write a corpus file over {source: texts}; the domain of a source is `<source>_domain`."""

    def make(sources: dict[str, Sequence[str]], **settings: object) -> Path:
        folder = tmp_path / "corpus"
        folder.mkdir(exist_ok=True)
        for name, texts in sources.items():
            lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
            (folder / f"{name}.jsonl.gz").write_bytes(gzip.compress(lines.encode(), mtime=0))
        listed = [
            {
                "name": name,
                "domain": f"{name}_domain",
                "files": [f"{name}.jsonl.gz"],
                "language": "tr",
                "licence": "none",
            }
            for name in sources
        ]
        path = folder / "corpus.yaml"
        path.write_text(yaml.safe_dump({"name": "made", "sources": listed, **settings}), encoding="utf-8")
        return path

    return make
