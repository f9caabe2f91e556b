"""Cut a source into parts. The cuts depend on its files alone: not on workers, machines or earlier runs."""

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from data_prep.corpus import Source, source_files
from data_prep.ingest.damage import refuse_unreadable
from data_prep.ingest.part import Part
from recipes.errors import UserError

SMALLEST, LARGEST, PARTS = 8 << 20, 1 << 30, 64  # bytes of a part, and how many parts a middling source gets
_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w.-]+")


class File(NamedTuple):
    """One file of a source."""

    path: Path
    name: str  # relative to the corpus file's folder
    kind: str
    size: int  # bytes


def plan_parts(corpus_file: Path, source: Source) -> list[Part]:
    """Cut `source` into parts of about a 64th to a 128th of its bytes, at least 8 MiB and at most 1 GiB.

    The parts in order hold the source's documents in order. Compressed files are not cut.

    Raises:
        UserError: `files` or `dataset` names nothing, or a file cannot be read.
    """
    files = _dataset(corpus_file, source) if source.dataset else _listed(corpus_file, source)
    if not files:
        raise UserError(f"corpus file {corpus_file}, source {source.name}: the dataset {source.dataset} has no files.")
    size = part_size(sum(file.size for file in files))
    pieces: list[Part] = []
    for is_text, group in itertools.groupby(files, lambda file: file.kind == "text"):
        same = list(group)
        pieces += _text_parts(same, size) if is_text else itertools.chain(*(_cut(file, size) for file in same))
    return [part._replace(source=source.name, number=number) for number, part in enumerate(pieces)]


def part_size(source_size: int) -> int:
    """Bytes of a part of a source that has `source_size` bytes: a power of two, so that most cuts stay as it grows."""
    return min(max(1 << (source_size // PARTS).bit_length() >> 1, SMALLEST), LARGEST)


def _listed(corpus_file: Path, source: Source) -> list[File]:
    folder = corpus_file.parent
    return [_file(path, _relative(path, folder), _kind(path)) for path in source_files(corpus_file, source)]


def _dataset(corpus_file: Path, source: Source) -> list[File]:
    from data_prep.ingest.hub import hub_files
    from data_prep.ingest.saved_dataset import saved_files

    name = str(source.dataset)
    folder = corpus_file.parent / name
    if folder.is_dir():
        paths = saved_files(folder, source.split)
        return [_file(path, _relative(path, corpus_file.parent), "dataset") for path in paths]
    if not _HUB_NAME.fullmatch(name):
        raise UserError(
            f"corpus file {corpus_file}, source {source.name}: there is no folder {folder}; mend `dataset`."
        )
    return [_file(path, f"{name}/{path.name}", "dataset") for path in hub_files(name, source.config, source.split)]


def _file(path: Path, name: str, kind: str) -> File:
    try:
        return File(path, name, kind, path.stat().st_size)
    except OSError as error:
        refuse_unreadable(path, error)
        raise


def _relative(path: Path, folder: Path) -> str:
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)


def _kind(path: Path) -> str:
    return {".parquet": "parquet", ".txt": "text", ".md": "text"}.get(path.suffix, "jsonl")


def _cut(file: File, size: int) -> Iterator[Part]:
    if file.kind == "jsonl" and file.path.suffix == ".jsonl":
        for start in range(0, max(file.size, 1), size):  # also one for an empty file
            stop = min(start + size, file.size)
            yield _part([file], start, stop, stop - start)
        return
    sizes = _piece_sizes(file) if file.size > size and file.kind != "jsonl" else []
    for start, stop in _groups(sizes, size):
        yield _part([file], start, stop, sum(sizes[start:stop]))
    if not sizes:
        yield _part([file], 0, 0, file.size)


def _piece_sizes(file: File) -> list[int]:
    """Bytes of each row group or record batch."""
    from data_prep.ingest.parquet import row_group_sizes
    from data_prep.ingest.saved_dataset import batch_offsets

    if file.kind == "parquet":
        return row_group_sizes(file.path)
    return [stop - start for start, stop in itertools.pairwise(batch_offsets(file.path))]


def _text_parts(files: Sequence[File], size: int) -> Iterator[Part]:
    for start, stop in _groups([file.size for file in files], size):
        yield _part(files[start:stop], 0, 0, sum(file.size for file in files[start:stop]))


def _groups(sizes: Sequence[int], limit: int) -> Iterator[tuple[int, int]]:
    """Ranges of consecutive items that together stay within `limit`, or of one larger item."""
    start = total = 0
    for number, size in enumerate(sizes):
        if number > start and total + size > limit:
            yield start, number
            start, total = number, 0
        total += size
    if sizes:
        yield start, len(sizes)


def _part(files: Iterable[File], start: int, stop: int, size: int) -> Part:
    files = list(files)
    paths, names = tuple(file.path for file in files), tuple(file.name for file in files)
    return Part("", 0, files[0].kind, paths, names, start, stop, size)
