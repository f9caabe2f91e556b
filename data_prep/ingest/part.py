"""A part: the unit of work of data preparation."""

from pathlib import Path
from typing import NamedTuple


class Part(NamedTuple):
    """A stretch of a source that one worker reads: some files, or a range of one."""

    source: str
    number: int  # from 0 within the source
    kind: str  # "jsonl", "parquet", "text" or "dataset"
    files: tuple[Path, ...]  # text: several; others: one
    names: tuple[str, ...]  # the same relative to the corpus file's folder, for messages and receipts
    start: int  # jsonl: bytes; parquet: row groups; dataset: record batches
    stop: int  # exclusive; start = stop = 0 is the whole file
    size: int  # bytes on disk, about (progress)
