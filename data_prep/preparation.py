"""One preparation of a corpus: what is asked for, what there is, and how the work is shared."""

from pathlib import Path
from typing import Any, NamedTuple

from rich.progress import Progress

from data_prep.clean_corpus import Share, cleaning_settings
from data_prep.corpus import Corpus
from data_prep.encode import Encoder
from data_prep.ingest.part import Part
from data_prep.selection import selection_settings
from data_prep.workers import available_cores
from recipes.artifacts import tool_version
from recipes.layout import RunFolder

ONE_WORKER = 16 << 20  # bytes of input up to which starting processes takes longer than the work


class Options(NamedTuple):
    """How the work is shared, and whether unreadable input stops it."""

    workers: int | None = None  # None: as many as this process has cores
    share: Share = Share()
    strict: bool = False


DEFAULTS = Options()


class Preparation(NamedTuple):
    """One preparation."""

    corpus_file: Path
    corpus: Corpus
    parts: dict[str, list[Part]]  # by source
    encoder: Encoder
    run: RunFolder
    progress: Progress
    options: Options

    @property
    def all_parts(self) -> list[Part]:
        return [part for parts in self.parts.values() for part in parts]

    @property
    def workers(self) -> int:
        small = sum(part.size for part in self.all_parts) < ONE_WORKER
        return self.options.workers or (1 if small else available_cores())

    def settings(self) -> dict[str, Any]:
        """All that decides the shards, but the bytes of the input."""
        return {
            "corpus": self.corpus.model_dump(mode="json"),
            "cleaning": {source.name: cleaning_settings(self.corpus, source) for source in self.corpus.sources},
            "selection": selection_settings(self.corpus, self.corpus_file),
            "tokenizer_digest": self.encoder.digest,
            "separator": self.encoder.separator,
            "tool_version": tool_version(),
        }
