"""What `datasets` saved is read as `datasets` reads it."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from data_prep.ingest.saved_dataset import batch_offsets
from recipes.errors import UserError

TEXTS = [f"satır {number} " * 20 for number in range(2_000)]
SAVE = """
import sys, datasets
texts = [f"satır {number} " * 20 for number in range(2000)]
rows = datasets.Dataset.from_dict({"id": list(range(2000)), "text": texts})
rows.save_to_disk(sys.argv[1] + "/plain", num_shards=3)
rows.select(range(0, 2000, 7)).save_to_disk(sys.argv[1] + "/chosen")
datasets.DatasetDict({"train": rows, "test": rows.select(range(5))}).save_to_disk(sys.argv[1] + "/splits")
"""


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved")
    subprocess.run([sys.executable, "-c", SAVE, str(folder)], check=True, capture_output=True)
    return folder


def write_folder(folder: Path, write_arrow: Callable[..., None], rows: int = 300, **state: Any) -> Path:
    write_arrow(folder / "data-0.arrow", pa.table({"text": TEXTS}), rows)
    state = {"_data_files": [{"filename": "data-0.arrow"}], "_split": None, **state}
    (folder / "state.json").write_text(json.dumps(state))
    return folder / "data-0.arrow"


def test_as_the_library_saves(saved: Path, read_source: Callable[..., Any]) -> None:
    for size in (1, 100_000, 10**8):
        found = read_source(dataset=str(saved / "plain"), size=size)
        assert found.texts == TEXTS
        assert len(found.parts) >= 3
        assert not found.places
    assert read_source(dataset=str(saved / "chosen")).texts == TEXTS[::7]


def test_a_split_is_chosen(saved: Path, read_source: Callable[..., Any]) -> None:
    assert read_source(dataset=str(saved / "splits"), split="test").texts == TEXTS[:5]
    with pytest.raises(UserError, match="has several splits; set `split` to one of train, test"):
        read_source(dataset=str(saved / "splits"))
    with pytest.raises(UserError, match="has no split 'dev'; set `split` to one of train, test"):
        read_source(dataset=str(saved / "splits"), split="dev")
    with pytest.raises(UserError, match="not divided into splits"):
        read_source(dataset=str(saved / "plain"), split="train")


def test_the_library_is_not_imported(saved: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from data_prep.ingest.document import Dropped;"
        "from data_prep.ingest.part import Part; from data_prep.ingest.read import read_part;"
        f"path = next(Path({str(saved)!r}, 'plain').glob('*.arrow'));"
        "part = Part('a', 0, 'dataset', (path,), ('a',), 0, 0, 0);"
        "assert list(read_part(part, 'text', Dropped())); assert not {'datasets', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[3])


def test_other_folders_are_refused(tmp_path: Path, read_source: Callable[..., Any], write_arrow: Any) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty is no folder that `save_to_disk` wrote"):
        read_source(dataset="empty")
    write_folder(tmp_path / "selected", write_arrow, _indices_data_files=[{"filename": "indices.arrow"}])
    with pytest.raises(UserError, match="is a selection of rows"):
        read_source(dataset="selected")
    (tmp_path / "empty" / "state.json").write_text("{}")
    with pytest.raises(UserError, match="expected a list '_data_files'"):
        read_source(dataset="empty")
    with pytest.raises(UserError, match=r"there is no folder .*/no/such/folder; mend `dataset`"):
        read_source(dataset="no/such/folder")


def test_a_missing_column_is_a_sentence(tmp_path: Path, read_source: Callable[..., Any], write_arrow: Any) -> None:
    write_folder(tmp_path / "a", write_arrow)
    with pytest.raises(UserError, match=r"has no column 'body'; set `text_field` to one of text\."):
        read_source(dataset="a", text_field="body")


@pytest.mark.parametrize("size", [1, 10**9])
def test_a_damaged_batch_is_named_and_the_others_are_read(
    tmp_path: Path, read_source: Callable[..., Any], write_arrow: Any, size: int
) -> None:
    path = write_folder(tmp_path / "a", write_arrow)
    content = bytearray(path.read_bytes())
    header = batch_offsets(path)[2]
    offsets = header + 8 + int.from_bytes(content[header + 4 : header + 8], "little")
    content[offsets + 40 : offsets + 44] = b"\xff\xff\xff\x7f"  # where a text starts
    path.write_bytes(content)
    found = read_source(dataset="a", size=size)
    assert found.texts == TEXTS[:600] + TEXTS[900:]
    (where,) = [dropped.examples["damaged_dataset"] for dropped in found.dropped if dropped.counts]
    assert where[0].excerpt.startswith("record batch 2: ")


@pytest.mark.parametrize("size", [1, 10**9])
def test_a_truncated_file_is_read_up_to_the_damage(
    tmp_path: Path, read_source: Callable[..., Any], write_arrow: Any, size: int
) -> None:
    path = write_folder(tmp_path / "a", write_arrow)
    content = path.read_bytes()
    edges = batch_offsets(path)
    for keep, batches in ((edges[3], 3), (edges[3] + 100, 3), (edges[3] - 1, 2), (len(content) - 8, 7)):
        path.write_bytes(content[:keep])
        found = read_source(dataset="a", size=size)
        assert found.texts == TEXTS[: 300 * batches]
        assert [reason for reason, _, _ in found.places] == ["damaged_dataset"]
    for keep in (0, 5, edges[0] - 1):
        path.write_bytes(content[:keep])
        assert [reason for reason, _, _ in read_source(dataset="a", size=size).places] == ["damaged_dataset"]
