"""Text to token ids by gigatoken, cross-checked against Hugging Face `tokenizers`; a separator ends every document."""

import sys
from collections.abc import Sequence
from functools import cached_property
from itertools import chain, repeat
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from data_prep.indexed import token_dtype
from recipes.artifacts import file_digest
from recipes.errors import UserError

_PROBE = [
    b"a",
    b" a ",
    b"\n\n",
    "\u0301a".encode(),
    b"1",
    b"a\n",
    b" ",
    b"'s",
]  # what a separator beside it could change


class Encoded(NamedTuple):
    """Documents as token ids."""

    tokens: NDArray[np.integer]  # [sum of lengths]
    lengths: NDArray[np.int64]  # [documents], tokens with the separator
    broken: NDArray[np.intp]  # documents, by number, whose own text spells the separator: it would end them early


class Encoder:
    """The tokenizer in `folder`, read when it is first needed. `separator` must be one of its tokens."""

    def __init__(self, folder: Path, separator: str) -> None:
        self.folder, self.separator = folder, separator
        self.file = folder / "tokenizer.json"

    def __getstate__(self) -> dict[str, Any]:
        """For another process, which loads gigatoken's tokenizer itself, and needs no more of the other's than this."""
        _ = self._vocabulary
        return {name: value for name, value in vars(self).items() if name not in ("_fast", "_reference")}

    @cached_property
    def digest(self) -> str:
        """sha256 of tokenizer.json."""
        return file_digest(self.file)

    @property
    def vocab_size(self) -> int:
        """One more than the largest id."""
        return self._vocabulary[0]

    @property
    def separator_id(self) -> int:
        return self._vocabulary[1]

    @property
    def dtype(self) -> np.dtype:
        return token_dtype(self.vocab_size)

    def encode(self, texts: Sequence[bytes]) -> Encoded:
        """Token ids of all documents, texts in UTF-8, one after the other, each ended by the separator."""
        encoded = self._joined(texts) if self._can_join else None
        return encoded or self._one_by_one(texts)

    def reference(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids by Hugging Face `tokenizers`, without separators."""
        return [found.ids for found in self._reference.encode_batch(list(texts), add_special_tokens=False)]

    def cross_check(self, texts: Sequence[str], places: Sequence[str], reference: Sequence[list[int]]) -> None:
        """Compare with what `reference` gave for the same texts.

        Raises:
            UserError: the ids differ; the sentence names the document.
        """
        encoded = self.encode([text.encode() for text in texts])
        found = np.split(encoded.tokens, np.cumsum(encoded.lengths)[:-1])
        for place, ids, expected in zip(places, found, reference, strict=False):
            if ids[:-1].tolist() != expected:
                raise UserError(
                    f"tokenizer {self.file}: gigatoken and Hugging Face tokenizers disagree on the document at "
                    f"{place}; use another version of gigatoken, or report this tokenizer to its project."
                )

    def _joined(self, texts: Sequence[bytes]) -> Encoded | None:
        """All texts in one call, which puts the separators in their places; None if a text spells the separator."""
        separator = self.separator.encode()
        tokens = self._tokens(b"".join(chain.from_iterable(zip(texts, repeat(separator), strict=False))))
        ends = np.flatnonzero(tokens == self.separator_id)
        return Encoded(tokens, np.diff(ends, prepend=-1), ends[:0]) if len(ends) == len(texts) else None

    def _one_by_one(self, texts: Sequence[bytes]) -> Encoded:
        pieces = [np.append(self._tokens(text), self.dtype.type(self.separator_id)) for text in texts]
        lengths = np.fromiter(map(len, pieces), np.int64, len(pieces))
        tokens = np.concatenate([np.zeros(0, self.dtype), *pieces])
        ends = np.cumsum(lengths) - 1
        inside = np.setdiff1d(np.flatnonzero(tokens == self.separator_id), ends)
        return Encoded(tokens, lengths, np.unique(np.searchsorted(ends, inside)))

    @cached_property
    def _can_join(self) -> bool:
        """Whether a text's ids are the same between separators as alone; some tokenizers strip or add spaces there."""
        apart, joined = self._one_by_one(_PROBE), self._joined(_PROBE)
        return joined is not None and all(map(np.array_equal, apart[:2], joined[:2]))

    def _tokens(self, text: bytes) -> NDArray[np.integer]:
        tokens: NDArray[np.uint32] = self._fast.encode(text)
        return tokens.view(self.dtype) if self.dtype.itemsize == 4 else tokens.astype(self.dtype)

    @cached_property
    def _vocabulary(self) -> tuple[int, int]:
        """Its size and the separator's id."""
        ids: dict[str, int] = self._reference.get_vocab(with_added_tokens=True)
        if self.separator not in ids:
            raise UserError(
                f"tokenizer {self.file}: it has no token {self.separator!r}; name its document separator in the "
                f"recipe's `tokenizer.separator`."
            )
        return max(ids.values()) + 1, ids[self.separator]

    @cached_property
    def _reference(self):  # type: ignore[no-untyped-def]
        from tokenizers import Tokenizer

        return self._load(Tokenizer.from_file)

    @cached_property
    def _fast(self):  # type: ignore[no-untyped-def]
        from gigatoken import Tokenizer

        preloaded = sys.modules.get("data_prep.preloaded")
        if preloaded and preloaded.TOKENIZER and str(self.file) == preloaded.FILE:
            return preloaded.TOKENIZER
        return self._load(Tokenizer)

    def _load(self, reader):  # type: ignore[no-untyped-def]
        try:
            return reader(str(self.file))
        except Exception as error:  # both libraries raise bare ones on a malformed file
            raise UserError(f"tokenizer {self.file}: expected a readable tokenizer.json ({error}).") from error
