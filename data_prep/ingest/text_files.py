"""Read plain text: one document a file."""

from collections.abc import Iterator
from pathlib import Path

from data_prep.ingest.damage import refuse_unreadable
from data_prep.ingest.document import EXCERPT, LARGEST, Document, Dropped
from data_prep.ingest.part import Part


def text_documents(part: Part, dropped: Dropped) -> Iterator[Document]:
    """Each file as it is, in UTF-8 and no other encoding. A tail of NULs is what a crash leaves of a file."""
    for path, name in zip(part.files, part.names, strict=True):
        dropped.lines[name] += 1
        content = _content(path)
        if len(content) > LARGEST:
            dropped.add("too_large", name, 1, content[: 4 * EXCERPT].decode("utf-8", "replace"))
            continue
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line_start = content.rfind(b"\n", 0, error.start) + 1
            excerpt = content[line_start : error.end + EXCERPT].decode("utf-8", "replace")
            dropped.add("invalid_utf8", name, content.count(b"\n", 0, error.start) + 1, excerpt)
            continue
        if text.endswith("\0"):
            dropped.add("damaged_text", name, text.rstrip("\0").count("\n") + 1, text)
        elif text:
            yield Document(text, name, 1)
        else:
            dropped.add("no_text", name, 1)


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(LARGEST + 1)
    except OSError as error:
        refuse_unreadable(path, error)
        raise
