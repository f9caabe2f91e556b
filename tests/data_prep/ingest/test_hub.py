"""Without internet a hub name is found in the local cache, or refused at once."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recipes.errors import UserError

CACHE = """
import sys, datasets
print(datasets.load_dataset(sys.argv[1], cache_dir=sys.argv[2])["train"].cache_files[0]["filename"])
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that holds `org/laws`, as if it had been downloaded."""
    folder = tmp_path_factory.mktemp("hub")
    (folder / "laws").mkdir()
    for split in ("train", "test"):
        (folder / "laws" / f"{split}.jsonl").write_text(json.dumps({"text": f"of {split}"}))
    command = [sys.executable, "-c", CACHE, str(folder / "laws"), str(folder / "cache")]
    subprocess.run(command, check=True, capture_output=True)
    (folder / "cache" / "laws").rename(folder / "cache" / "org___laws")
    return folder / "cache"


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(home))


@pytest.mark.slow
def test_from_the_cache(offline: None, read_source: Callable[..., Any]) -> None:
    found = read_source(dataset="org/laws", split="test")
    assert found.documents == [("of test", "org/laws/laws-test.arrow", 1)]


@pytest.mark.slow
def test_several_splits_are_named(offline: None, read_source: Callable[..., Any]) -> None:
    with pytest.raises(UserError, match="org/laws has several splits; set `split` to one of train, test"):
        read_source(dataset="org/laws")


@pytest.mark.slow
def test_what_is_not_in_the_cache_is_one_sentence(
    tmp_path: Path, read_source: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody answers there
    with pytest.raises(UserError, match=r"org/other is no folder .* hub cannot be asked.*`save_to_disk`"):
        read_source(dataset="org/other")


def test_part_of_a_split_is_refused(read_source: Callable[..., Any]) -> None:
    with pytest.raises(UserError, match=r"expected the name of a whole split, found 'train\[:1%\]'"):
        read_source(dataset="org/laws", split="train[:1%]")
