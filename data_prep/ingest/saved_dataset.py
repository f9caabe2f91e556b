"""Read what Hugging Face `datasets` keeps on disk, without its slow import: Arrow streams, listed in state.json.

Format: `datasets/arrow_dataset.py` (`save_to_disk`) and `datasets/dataset_dict.py` of datasets 1.2 to 4.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import ipc

from data_prep.ingest.column import check_column, column_documents
from data_prep.ingest.damage import DAMAGE, refuse_unreadable
from data_prep.ingest.document import Document, Dropped
from data_prep.ingest.part import Part
from recipes.artifacts import read_json
from recipes.errors import UserError

_END = b"\xff\xff\xff\xff\0\0\0\0"  # of an Arrow stream that was closed
_DAMAGE = (*DAMAGE, pa.ArrowException)


def saved_files(folder: Path, split: str | None) -> list[Path]:
    """The Arrow files of a folder that `save_to_disk` wrote, in order.

    Raises:
        UserError: it is no such folder, a split must be chosen or is not there, or its rows are a selection.
    """
    if (folder / "dataset_dict.json").is_file():
        return saved_files(folder / _chosen(folder, _stated(folder / "dataset_dict.json", "splits"), split), None)
    if not (folder / "state.json").is_file():
        raise UserError(
            f"dataset {folder} is no folder that `save_to_disk` wrote (it has no state.json); "
            "give Parquet or JSON lines as `files`."
        )
    state = read_json(folder / "state.json")
    files = [folder / file["filename"] for file in _stated(folder / "state.json", "_data_files")]
    if split not in (None, state.get("_split")):
        raise UserError(f"dataset {folder} is not divided into splits; leave out `split: {split}`.")
    if state.get("_indices_data_files") or (folder / "indices.arrow").exists():
        raise UserError(
            f"dataset {folder} is a selection of rows (indices.arrow), which is not read; "
            "load and save it with datasets 2 or newer."
        )
    return files


def _stated(path: Path, key: str) -> list[Any]:
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get(key), list):
        raise UserError(f"{path}: expected a list {key!r}, as `save_to_disk` writes it; save the dataset again.")
    return list(content[key])


def _chosen(folder: Path, splits: list[str], split: str | None) -> str:
    if split is None and len(splits) == 1:
        return splits[0]
    if split not in splits:
        found = f"has no split {split!r}" if split else "has several splits"
        raise UserError(f"dataset {folder} {found}; set `split` to one of {', '.join(splits)}.")
    return split


def batch_offsets(path: Path) -> list[int]:
    """Where each record batch of an Arrow stream starts, and where the last one ends; only headers are read.

    From the first damage to the framing on, the rest of the file counts as one batch.

    Raises:
        UserError: the file cannot be read.
    """
    offsets: list[int] = []
    try:
        with pa.memory_map(str(path)) as stream:
            messages = ipc.MessageReader.open_stream(stream)
            with contextlib.suppress(StopIteration):
                while True:
                    messages.read_next_message()  # the schema, then the batches
                    offsets.append(stream.tell())
            if stream.tell() == stream.size() and stream.read_at(len(_END), stream.size() - len(_END)) == _END:
                return offsets
    except _DAMAGE as error:
        refuse_unreadable(path, error)
    return [*offsets, path.stat().st_size]


def dataset_documents(part: Part, text_field: str, dropped: Dropped) -> Iterator[Document]:
    """The column `text_field`. A damaged record batch is counted once, and the others are read.

    Raises:
        UserError: the dataset has no such column.
    """
    path, name = part.files[0], part.names[0]
    offsets = batch_offsets(path)
    try:
        with pa.memory_map(str(path)) as stream:
            schema = ipc.open_stream(stream).schema
    except _DAMAGE as error:
        refuse_unreadable(path, error)
        dropped.add("damaged_dataset", name, 1, f"the whole file: {error}")
        return
    check_column(path, schema.names, text_field)
    for number in range(part.start, min(part.stop or len(offsets), len(offsets) - 1)):
        first = dropped.lines[name] + 1
        try:
            batch = _record_batch(path, offsets[number], schema)
            yield from column_documents(batch.column(text_field), name, first, dropped)
            dropped.lines[name] += batch.num_rows
        except _DAMAGE as error:
            refuse_unreadable(path, error)
            dropped.add("damaged_dataset", name, first, f"record batch {number}: {error}")


def _record_batch(path: Path, offset: int, schema: pa.Schema) -> pa.RecordBatch:
    """One batch in a memory map of its own, so that the pages of the batches before it are given back."""
    with pa.memory_map(str(path)) as stream:
        stream.seek(offset)
        batch = ipc.read_record_batch(ipc.read_message(stream), schema)
        batch.validate()
        return batch
