"""Read Parquet files by row groups."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
from pyarrow.parquet import ParquetFile

from data_prep.ingest.column import check_column, column_documents
from data_prep.ingest.damage import DAMAGE, refuse_unreadable
from data_prep.ingest.document import Document, Dropped
from data_prep.ingest.part import Part

_BATCH_BYTES = 16 << 20  # of all columns, of rows read at once
_BATCH_ROWS = 1024  # at most: a dictionary makes rows look smaller than they are
_BUFFER = 1 << 20  # bytes of a column read at once, instead of the row group's whole column
_DAMAGE = (*DAMAGE, pa.ArrowException)


def row_group_sizes(path: Path) -> list[int]:
    """Bytes on disk of each row group, in proportion to their uncompressed bytes; none if the footer is damaged.

    The exact sizes are with the columns, and there pyarrow 21 ends the process if a footer is damaged.

    Raises:
        UserError: the file cannot be read.
    """
    try:
        with _open(path) as file:
            weights = [max(1, file.metadata.row_group(number).total_byte_size) for number in range(file.num_row_groups)]
    except _DAMAGE as error:
        refuse_unreadable(path, error)
        return []
    return [path.stat().st_size * weight // sum(weights) for weight in weights]


def parquet_documents(part: Part, text_field: str, dropped: Dropped) -> Iterator[Document]:
    """The column `text_field`. A damaged row group is counted once, and the others are read.

    Raises:
        UserError: the file has no such column.
    """
    path, name = part.files[0], part.names[0]
    try:
        file = _open(path)
    except _DAMAGE as error:
        refuse_unreadable(path, error)
        dropped.add("damaged_parquet", name, 1, f"the whole file: {error}")
        return
    with file:
        check_column(path, file.schema_arrow.names, text_field)
        groups = file.num_row_groups
        for group in range(part.start, min(part.stop or groups, groups)):
            yield from _row_group_documents(file, group, path, name, text_field, dropped)
        stated = sum(file.metadata.row_group(group).num_rows for group in range(groups))
        if part.stop in (0, groups) and stated != file.metadata.num_rows:
            found = f"the footer: row groups of {stated} rows, a file of {file.metadata.num_rows}"
            dropped.add("damaged_parquet", name, dropped.lines[name] + 1, found)


def _row_group_documents(
    file: ParquetFile, group: int, path: Path, name: str, text_field: str, dropped: Dropped
) -> Iterator[Document]:
    first = dropped.lines[name] + 1
    rows, stated = 0, file.metadata.row_group(group).num_rows
    try:
        for batch in file.iter_batches(_batch_rows(file, group), [group], [text_field], use_threads=False):
            yield from column_documents(batch.column(0), name, first + rows, dropped)
            rows += batch.num_rows
        if rows != stated:
            raise EOFError(f"{rows} rows of {stated}")
    except _DAMAGE as error:
        refuse_unreadable(path, error)
        dropped.add("damaged_parquet", name, first + rows, f"row group {group}: {error}")
        rows = max(rows, stated)
    dropped.lines[name] += rows


def _batch_rows(file: ParquetFile, group: int) -> int:
    stated = file.metadata.row_group(group)
    return max(1, min(_BATCH_ROWS, _BATCH_BYTES * stated.num_rows // max(1, stated.total_byte_size)))


def _open(path: Path) -> ParquetFile:
    return ParquetFile(path, buffer_size=_BUFFER, page_checksum_verification=True)
