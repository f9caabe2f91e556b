"""Held-out documents: which text every model is scored on, bounded per source, the same for every model."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from recipes.artifacts import digest
from recipes.errors import UserError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SHARE_OF_ONE_DOCUMENT = 8  # no document fills more than an eighth of its source's budget while others are left
MOST_CHARACTERS_PER_TOKEN = 32  # a text beyond that many times the budget is not read on


@dataclass(frozen=True)
class Document:
    """One held-out document, or its beginning."""

    text: str
    source: str
    domain: str


@dataclass(frozen=True)
class Encoded:
    """Documents and their token ids, int64, without separators; `ids[i]` belongs to `documents[i]`."""

    documents: list[Document]
    ids: list[np.ndarray]
    separator_id: int
    vocab_size: int  # one more than the largest id of the tokenizer

    @property
    def digest(self) -> str:
        """Equal digests mean the same tokens of the same documents under the same labels: scores compare."""
        content = [(d.source, d.domain, ids.tolist()) for d, ids in zip(self.documents, self.ids, strict=True)]
        return digest([self.separator_id, content])


def read_heldout(folder: Path) -> list[Document]:
    """Every document of `folder`/*.jsonl, blank ones left out.

    Raises:
        UserError: no such folder, no document in it, or a line that is not {"text", "source", "domain"}.
    """
    files = sorted(folder.glob("*.jsonl"))
    if not files:
        raise UserError(f"{folder}: expected held-out documents in *.jsonl files, found none; build the shards first.")
    documents = [document for path in files for document in _read_file(path) if document.text.strip()]
    if not documents:
        raise UserError(f"{folder}: the held-out files hold no text; raise heldout_fraction in the corpus file.")
    return documents


def load_tokenizer(folder: Path) -> "Tokenizer":
    """The `tokenizer.json` of a folder.

    Raises:
        UserError: it is missing or not a tokenizer.
    """
    from tokenizers import Tokenizer

    path = folder / "tokenizer.json"
    if not path.is_file():
        raise UserError(f"{folder}: expected a tokenizer.json in this folder; copy the model's tokenizer there.")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the Rust side raises bare Exception
        raise UserError(f"{path}: expected a tokenizer in Hugging Face's format ({error}).") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def bounded(
    documents: Sequence[Document], tokenizer: "Tokenizer", tokens_per_source: int, sequence_length: int
) -> list[Document]:
    """At most about `tokens_per_source` tokens of every source: documents by content hash, long ones cut at a token.

    A function of the texts, the tokenizer and the two numbers alone. A document gives at most an eighth of the budget
    (but a whole window), so that one long law does not stand for all; that cap doubles while a source has too few.
    """
    return [
        document
        for source in sorted({document.source for document in documents})
        for document in _bounded_source(
            [d for d in documents if d.source == source], tokenizer, tokens_per_source, sequence_length
        )
    ]


def encode(documents: Sequence[Document], tokenizer: "Tokenizer", separator: str) -> Encoded:
    """Token ids of every document, as they are in training: no special tokens added.

    Raises:
        UserError: the tokenizer does not know the separator.
    """
    separator_id = tokenizer.token_to_id(separator)
    if separator_id is None:
        raise UserError(
            f"the tokenizer has no token {separator!r}; set `tokenizer.separator` in the recipe to one it has."
        )
    encodings = tokenizer.encode_batch([d.text for d in documents], add_special_tokens=False)
    ids = [np.array(encoding.ids, dtype=np.int64) for encoding in encodings]
    vocab_size = max(tokenizer.get_vocab(with_added_tokens=True).values()) + 1
    return Encoded(list(documents), ids, separator_id, vocab_size)


def _read_file(path: Path) -> list[Document]:
    documents = []
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: the held-out file cannot be read ({error}).") from error
    for number, line in enumerate(lines, 1):
        if line.strip():
            documents.append(_read_line(line, f"{path}, line {number}"))
    return documents


def _read_line(line: str, place: str) -> Document:
    try:
        content = json.loads(line)
    except ValueError as error:
        raise UserError(f"{place}: not valid JSON ({error}).") from error
    fields = [content.get(name) if isinstance(content, dict) else None for name in ("text", "source", "domain")]
    if not all(isinstance(field, str) for field in fields):
        raise UserError(f'{place}: expected {{"text": ..., "source": ..., "domain": ...}}, all three strings.')
    return Document(*fields)  # type: ignore[arg-type]


def _bounded_source(
    documents: list[Document], tokenizer: "Tokenizer", budget: int, sequence_length: int
) -> list[Document]:
    ordered = sorted(documents, key=lambda d: hashlib.sha256(d.text.encode()).digest())
    cap = max(sequence_length, budget // SHARE_OF_ONE_DOCUMENT)
    ends: list[list[int]] = []
    filled = 0
    while filled < budget and len(ends) < len(ordered):
        ends.append(_token_ends(ordered[len(ends)].text, tokenizer, budget))
        filled += min(len(ends[-1]), cap)
    while sum(min(len(end), cap) for end in ends) < budget and cap < max(map(len, ends)):
        cap *= 2
    chosen = []
    for document, end in zip(ordered, ends, strict=False):
        take = min(cap, budget, len(end))
        if take > 0:
            budget -= take
            chosen.append(Document(document.text[: end[take - 1]], document.source, document.domain))
    return chosen


def _token_ends(text: str, tokenizer: "Tokenizer", budget: int) -> list[int]:
    """Where the tokens of a text end, in characters; the last one at its end, blanks that no token covers included."""
    start = text[: MOST_CHARACTERS_PER_TOKEN * budget]
    ends = [end for _, end in tokenizer.encode(start, add_special_tokens=False).offsets]
    return [*ends[:-1], len(start)] if ends else []
