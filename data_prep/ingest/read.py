"""Read the documents of a part, whatever its format."""

from collections.abc import Iterator

from data_prep.ingest.document import Document, Dropped, RawDocument
from data_prep.ingest.part import Part


def read_part(part: Part, text_field: str, dropped: Dropped) -> Iterator[Document]:
    """The documents of `part` in order, in memory that does not depend on the size of its files.

    What cannot be used is counted in `dropped` and named by file and line (row, for Parquet and datasets), and the rest
    is read: not_json, no_text (missing, null, empty or no text), invalid_utf8, too_large, damaged_gzip, damaged_zstd,
    damaged_parquet, damaged_dataset, damaged_text.

    Raises:
        UserError: a file cannot be opened or read, or has no column `text_field`.
    """
    if part.kind == "jsonl":
        return map(RawDocument.decoded, read_raw(part, text_field, dropped))
    if part.kind == "text":
        from data_prep.ingest.text_files import text_documents

        return text_documents(part, dropped)
    if part.kind == "parquet":
        from data_prep.ingest.parquet import parquet_documents

        return parquet_documents(part, text_field, dropped)
    from data_prep.ingest.saved_dataset import dataset_documents

    return dataset_documents(part, text_field, dropped)


def read_raw(part: Part, text_field: str, dropped: Dropped) -> Iterator[RawDocument]:
    """The same documents in UTF-8, in which JSON lines need no detour over `str`; raises as `read_part`."""
    if part.kind == "jsonl":
        from data_prep.ingest.json_lines import json_line_documents

        return json_line_documents(part, text_field, dropped)
    return map(Document.encoded, read_part(part, text_field, dropped))
