"""Cleaning of documents, and the digest by which duplicates and held-out documents are chosen."""

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from data_prep.corpus import Corpus
from data_prep.documents import Document, Dropped

# C0 and C1 controls but tab and newline, zero-width space, word joiner, byte order mark. The joiners U+200C and
# U+200D stay: they spell words.
_CONTROL = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\u200b\u2060\ufeff]")
_NEWLINE = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_DIGEST_BYTES = 8
_DIGEST_NAME = b"heldout"  # BLAKE2 personalisation: another name would choose other held-out documents


def clean(text: str) -> str:
    """Unicode NFC, one kind of newline, no control characters, no blank space at either end."""
    visible = _CONTROL.sub("", _NEWLINE.sub("\n", text))
    return unicodedata.normalize("NFC", visible).strip()


def content_digest(text: str) -> int:
    """64-bit BLAKE2b of the cleaned text.

    Equal documents have equal digests in every source; among n documents some unequal pair collides with a probability
    of about n² / 2⁶⁵ (250 million documents: 0.2 %).

    Raises:
        UnicodeEncodeError: the text holds a lone surrogate.
    """
    digest = hashlib.blake2b(text.encode(), digest_size=_DIGEST_BYTES, person=_DIGEST_NAME).digest()
    return int.from_bytes(digest, "big")


def is_held_out(digest: int, fraction: float) -> bool:
    """Whether a document is held out: a property of its content alone, so it holds for every copy, source and run."""
    return digest < fraction * 2 ** (8 * _DIGEST_BYTES)


class Kept(NamedTuple):
    """A document that may be used."""

    text: str  # cleaned
    digest: int
    place: str
    consumed: int
    held_out: bool


def keep_usable(
    documents: Iterable[Document], corpus: Corpus, separator: str, seen: set[int], dropped: Dropped
) -> Iterator[Kept]:
    """Clean documents and leave out what cannot be trained on; `seen` collects the digests of all sources.

    Reasons in `dropped`: too_short, contains_separator (its tokens would end the document in the middle), duplicate.
    """
    for document in documents:
        text = clean(document.text)
        if len(text) < corpus.minimum_characters:
            dropped.add("too_short", document.place)
        elif separator in text:
            dropped.add("contains_separator", document.place)
        elif (digest := content_digest(text)) in seen:
            dropped.add("duplicate", document.place)
        else:
            seen.add(digest)
            held_out = is_held_out(digest, corpus.heldout_fraction)
            yield Kept(text, digest, document.place, document.consumed, held_out)
