"""The documents of a column in Arrow's memory format, which Parquet files and saved datasets share."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from data_prep.ingest.document import EXCERPT, LARGEST, Document, Dropped
from recipes.errors import UserError

_BINARY = {pa.string(): pa.binary(), pa.large_string(): pa.large_binary()}


def column_documents(column: pa.Array, name: str, line: int, dropped: Dropped) -> Iterator[Document]:
    """The texts of `column`, whose first row is row `line` of the file `name`.

    Raises:
        pa.ArrowInvalid: its offsets point outside its text.
    """
    values = _as_binary(column)
    for number in range(len(column)):
        buffer = values[number].as_buffer() if values is not None else None
        if not buffer:
            dropped.add("no_text", name, line + number)
        elif buffer.size > LARGEST:
            dropped.add("too_large", name, line + number, _excerpt(buffer))
        else:
            try:
                text = str(buffer, "utf-8")
            except UnicodeDecodeError:
                dropped.add("invalid_utf8", name, line + number, _excerpt(buffer))
            else:
                yield Document(text, name, line + number)


def check_column(path: Path, names: Sequence[str], text_field: str) -> None:
    """Raise UserError unless `text_field` is one of the columns `names` of the file."""
    if text_field not in names:
        raise UserError(
            f"corpus file {path} has no column {text_field!r}; set `text_field` to one of {', '.join(names[:50])}."
        )


def _as_binary(column: pa.Array) -> pa.Array | None:
    """The bytes of each row, checked to lie inside the column; None if it is not text."""
    kind = column.type
    if pa.types.is_dictionary(kind) or kind == pa.string_view():
        column.validate(full=True)
        column = column.cast(pa.large_string())
    if column.type in _BINARY:  # as bytes, one wrong byte spoils a row instead of the column
        column = column.view(_BINARY[column.type])
    if not (pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type)):
        return None
    column.validate(full=True)
    return column


def _excerpt(buffer: pa.Buffer) -> str:
    return buffer.slice(0, min(buffer.size, 4 * EXCERPT)).to_pybytes().decode("utf-8", "replace")
