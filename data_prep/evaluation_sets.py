"""Evaluation sets that training documents must not contain: files of JSON lines or Parquet beside the corpus file."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from data_prep.corpus import matching_files
from data_prep.dedup.decontaminate import Decontaminate, item_text
from recipes.errors import UserError


def evaluation_files(corpus_file: Path, options: Decontaminate) -> list[Path]:
    """The files of all sets.

    Raises:
        UserError: a name or glob matches no file.
    """
    return matching_files(corpus_file, options.evaluation_sets, "`decontaminate.evaluation_sets`")


def evaluation_items(corpus_file: Path, options: Decontaminate) -> Iterator[tuple[str, str]]:
    """Name and text of every item.

    Raises:
        UserError: a file cannot be read, or a row has none of the fields: half a set would protect nothing.
    """
    for path in evaluation_files(corpus_file, options):
        for number, row in enumerate(_rows(path), 1):
            text = item_text(row, options.fields) if isinstance(row, dict) else ""
            if not text:
                raise _refusal(path, number, f"it has no text in {' or '.join(options.fields)}")
            yield f"{path.name}:{number}", text


def _rows(path: Path) -> Iterator[Any]:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        if path.suffix == ".parquet":
            for batch in parquet.ParquetFile(path).iter_batches():
                yield from batch.to_pylist()
            return
        with pa.input_stream(str(path), compression="detect") as stream:
            yield from _json_rows(path, stream.read().split(b"\n"))
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"evaluation set {path} cannot be read ({error}).") from error


def _json_rows(path: Path, lines: Sequence[bytes]) -> Iterator[Any]:
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                yield json.loads(line)
            except ValueError as error:
                raise _refusal(path, number, f"it is not JSON ({error})") from error


def _refusal(path: Path, number: int, why: str) -> UserError:
    return UserError(
        f"evaluation set {path}, row {number}: {why}; expected JSON lines or Parquet with `decontaminate.fields`."
    )
