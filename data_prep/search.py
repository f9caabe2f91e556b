"""What a search over all documents is given: the parts, what was decided so far, and how to look a document up."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from data_prep.cleaned import HELD_OUT, read_cleaned, rows
from data_prep.corpus import Corpus
from data_prep.ingest.document import EXCERPT

MEMORY = 1 << 30  # bytes that a search over all documents may hold at a time, in each of its processes
PAIRS = 10  # shown per search


class Part(NamedTuple):
    """A cleaned part, in the corpus's order."""

    source: str
    number: int
    folder: Path


Place = tuple[int, int]  # part, row
Shown = dict[str, Any]  # document, kept: source, file, text; measure
Mask = NDArray[np.uint8]  # [documents], see data_prep.cleaned


class Search(NamedTuple):
    """What a search is given: the parts, what was decided so far, and a folder for its working files."""

    corpus: Corpus
    corpus_file: Path
    parts: Sequence[Part]
    masks: list[Mask]
    scratch: Path
    workers: int

    def gone(self) -> list[Path]:
        """One .npy file per part, bool [documents]: what earlier searches took out."""
        folder = self.scratch / "gone"
        folder.mkdir(exist_ok=True)
        files = [folder / f"{number:06d}.npy" for number in range(len(self.parts))]
        for file, mask in zip(files, self.masks, strict=True):
            np.save(file, mask > HELD_OUT)
        return files

    def texts(self, part: int) -> Iterator[str]:
        """What is left of a part, in order."""
        for stays, document in zip(self.masks[part] <= HELD_OUT, read_cleaned(self.parts[part].folder), strict=True):
            if stays:
                yield document.text

    def mark(self, code: int, found: Sequence[NDArray[np.bool_]]) -> None:
        """Set `code` where `found`, unless an earlier search did."""
        for mask, marked in zip(self.masks, found, strict=True):
            mask[marked & (mask <= HELD_OUT)] = code

    def show(self, gone: Place, kept: Place, measure: str) -> Shown:
        """A document that goes beside the one for which it goes."""
        return {"document": self._excerpt(*gone), "kept": self._excerpt(*kept), "measure": measure}

    def _excerpt(self, part: int, row: int) -> dict[str, str]:
        (document,) = rows(self.parts[part].folder, [row])
        return {"source": self.parts[part].source, "file": document.file, "text": document.text[:EXCERPT]}
