"""The digest by which equal documents and held-out documents are known."""

import hashlib

_DIGEST_BYTES = 8
_DIGEST_NAME = b"heldout"  # BLAKE2 personalisation: another name would choose other held-out documents


def content_digest(text: str) -> int:
    """64-bit BLAKE2b of a document's text.

    Equal documents have equal digests in every source; among n documents some unequal pair collides with a probability
    of about n² / 2⁶⁵ (250 million documents: 0.2 %).

    Raises:
        UnicodeEncodeError: the text holds a lone surrogate.
    """
    return raw_digest(text.encode())


def raw_digest(text: bytes) -> int:
    """The same of a text in UTF-8."""
    digest = hashlib.blake2b(text, digest_size=_DIGEST_BYTES, person=_DIGEST_NAME).digest()
    return int.from_bytes(digest, "big")


def held_out_below(fraction: float) -> int:
    """A document is held out if its digest is smaller: a property of its content alone, in every copy and run."""
    return int(fraction * 2 ** (8 * _DIGEST_BYTES))
