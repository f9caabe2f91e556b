"""A source is tokenized by several processes while its tokenizer is cross-checked."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.progress import Progress

from data_prep.encode import Encoder
from data_prep.preparation import Options
from data_prep.shards import build_shards
from recipes.errors import UserError
from recipes.layout import RunFolder


@pytest.mark.parametrize("workers", [1, 2])
def test_a_source_on_which_the_tokenizers_disagree_is_not_published(
    make_corpus: Callable[..., Path], encoder: Encoder, tmp_path: Path, workers: int
) -> None:
    content = json.loads(encoder.file.read_text())
    content["added_tokens"][0]["single_word"] = True  # which gigatoken does not know
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    corpus = make_corpus({"laws": ["bir", f"iki{encoder.separator}üç"]}, cleaning=[], exact_duplicates="keep")
    run = RunFolder(tmp_path / "run")
    with pytest.raises(UserError, match=r"disagree on the document at laws\.jsonl\.gz:2"):
        build_shards(corpus, Encoder(tmp_path, encoder.separator), run, Progress(disable=True), Options(workers))
    assert not (run.shards / "laws").exists()
