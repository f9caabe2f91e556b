"""Text to token ids by gigatoken, cross-checked against Hugging Face `tokenizers`; a separator ends every document."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_prep.indexed import token_dtype
from recipes.artifacts import file_digest
from recipes.errors import UserError

CHECKED_DOCUMENTS = 32  # per source
CHECKED_CHARACTERS = 20_000  # of each


class Encoder:
    """The tokenizer in `folder`, read when it is first needed. `separator` must be one of its tokens."""

    def __init__(self, folder: Path, separator: str) -> None:
        self.folder, self.separator = folder, separator
        self.file = folder / "tokenizer.json"

    @cached_property
    def digest(self) -> str:
        """sha256 of tokenizer.json."""
        return file_digest(self.file)

    @cached_property
    def vocab_size(self) -> int:
        """One more than the largest id."""
        return max(self._reference.get_vocab(with_added_tokens=True).values()) + 1

    @cached_property
    def separator_id(self) -> int:
        found = self._reference.token_to_id(self.separator)
        if found is None:
            raise UserError(
                f"tokenizer {self.file}: it has no token {self.separator!r}; name its document separator in the "
                f"recipe's `tokenizer.separator`."
            )
        return int(found)

    @property
    def dtype(self) -> np.dtype:
        return token_dtype(self.vocab_size)

    def encode(self, texts: Sequence[str]) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        """Token ids of all documents one after the other, and each document's number of tokens with its separator."""
        import awkward  # type: ignore[import-untyped]

        if not texts:
            return np.zeros(0, np.uint32), np.zeros(0, np.int64)
        ragged = self._fast.encode_batch(list(texts))
        lengths = awkward.to_numpy(awkward.num(ragged)) + 1
        tokens = np.empty(int(lengths.sum()), np.uint32)
        ends = np.zeros(len(tokens), bool)
        ends[np.cumsum(lengths) - 1] = True
        tokens[~ends] = awkward.to_numpy(awkward.flatten(ragged))
        tokens[ends] = self.separator_id
        return tokens, lengths

    def cross_check(self, texts: Sequence[str], places: Sequence[str]) -> None:
        """Compare with Hugging Face `tokenizers` on the beginnings of a few documents.

        Raises:
            UserError: the ids differ; the sentence names the document.
        """
        starts = [text[:CHECKED_CHARACTERS] for text in texts[:CHECKED_DOCUMENTS]]
        tokens, lengths = self.encode(starts)
        found = np.split(tokens, np.cumsum(lengths)[:-1])
        expected = self._reference.encode_batch(starts, add_special_tokens=False)
        for place, ids, reference in zip(places, found, expected, strict=False):
            if ids[:-1].tolist() != reference.ids:
                raise UserError(
                    f"tokenizer {self.file}: gigatoken and Hugging Face tokenizers disagree on the document at "
                    f"{place}; use another version of gigatoken, or report this tokenizer to its project."
                )

    @cached_property
    def _reference(self):  # type: ignore[no-untyped-def]
        from tokenizers import Tokenizer

        return self._load(Tokenizer.from_file)

    @cached_property
    def _fast(self):  # type: ignore[no-untyped-def]
        from gigatoken import Tokenizer

        return self._load(Tokenizer)

    def _load(self, reader):  # type: ignore[no-untyped-def]
        try:
            return reader(str(self.file))
        except Exception as error:  # both libraries raise bare ones on a malformed file
            raise UserError(f"tokenizer {self.file}: expected a readable tokenizer.json ({error}).") from error
