"""The schema of a corpus file: where each source's documents are, how they are cleaned, and what is held out."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_serializer, field_validator, model_validator

from data_prep.cleaning.step import Step
from data_prep.dedup.decontaminate import Decontaminate
from data_prep.dedup.minhash import NearDuplicates
from data_prep.dedup.semantic import SemanticDuplicates
from recipes.errors import UserError
from recipes.load import read_yaml, validate
from recipes.schema import Strict

SUFFIXES = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet", ".txt", ".md")
NAME = r"^[a-z][a-z0-9_]*$"  # a letter first: Megatron takes a prefix like `123` for a weight
Steps = tuple[Step, ...]


def _steps(value: Any) -> Any:
    from data_prep.cleaning.registry import parse_steps

    return parse_steps(value)


def _named(steps: Steps | None) -> list[dict[str, Any]] | None:
    return None if steps is None else [{step.name: step.model_dump(mode="json")} for step in steps]


class Source(Strict):
    """Documents of one kind, in files or in a Hugging Face dataset. A recipe's mixture names a source or a domain."""

    name: str = Field(pattern=NAME)
    domain: str = Field(pattern=NAME)
    files: list[str] = []  # relative to the corpus file; globs allowed; a .txt or .md file is one document
    dataset: str | None = None  # instead of files: a `save_to_disk` folder, or a hub name like `org/name`
    split: str | None = None  # of the dataset
    config: str | None = None  # of the dataset
    text_field: str = "text"
    language: str  # ISO 639-1, or `code`
    licence: str
    cleaning: Steps | None = None  # instead of the corpus's own

    _parse_steps = field_validator("cleaning", mode="before")(lambda value: None if value is None else _steps(value))
    _dump_steps = field_serializer("cleaning")(_named)

    @field_validator("files")
    @classmethod
    def _known_format(cls, files: list[str]) -> list[str]:
        for file in files:
            if not file.endswith(SUFFIXES):
                raise ValueError(f"expected file names that end in {', '.join(SUFFIXES)}, found {file!r}")
        return files

    @model_validator(mode="after")
    def _one_origin(self) -> "Source":
        if bool(self.files) == bool(self.dataset):
            raise ValueError(f"source {self.name}: expected either `files` or `dataset`")
        if (self.split or self.config) and not self.dataset:
            raise ValueError(f"source {self.name}: `split` and `config` belong to a `dataset`")
        return self


class Corpus(Strict):
    """A corpus file, validated."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_]*$")
    heldout_fraction: float = Field(0.03, ge=0, lt=1)  # of the documents, by content hash
    cleaning: Steps = Field("basic", validate_default=True)  # a preset, or a list of steps
    exact_duplicates: Literal["drop", "keep"] = "drop"  # equal documents, over all sources
    near_duplicates: NearDuplicates | None = None  # None: they stay; so with the two that follow
    semantic_duplicates: SemanticDuplicates | None = None
    decontaminate: Decontaminate | None = None
    sources: list[Source] = Field(min_length=1)

    _parse_steps = field_validator("cleaning", mode="before")(_steps)
    _dump_steps = field_serializer("cleaning")(_named)

    @model_validator(mode="after")
    def _names(self) -> "Corpus":
        names = [source.name for source in self.sources]
        for source in self.sources:
            if names.count(source.name) > 1:
                raise ValueError(f"source names must differ, found {source.name!r} twice")
            if any(other.domain == source.name != other.name for other in self.sources):
                raise ValueError(f"{source.name!r} names a source and another's domain; a mixture could mean either")
        return self

    @property
    def cleans(self) -> bool:
        """Whether anything is asked for but tokens."""
        searches = (self.near_duplicates, self.semantic_duplicates, self.decontaminate)
        selects = self.exact_duplicates == "drop" or any(searches)
        return selects or any(self.steps(source) for source in self.sources)

    def steps(self, source: Source) -> Steps:
        """The cleaning of one source."""
        return self.cleaning if source.cleaning is None else source.cleaning


def load_corpus(path: Path) -> Corpus:
    """Read a corpus file.

    Raises:
        UserError: missing, not YAML, or against the schema; the sentence names the field.
    """
    return validate(Corpus, read_yaml(path, "corpus"), f"corpus file {path}")


def source_files(corpus_file: Path, source: Source) -> list[Path]:
    """The files of `source`; raises as `matching_files`."""
    return matching_files(corpus_file, source.files, f"source {source.name}: `files`")


def matching_files(corpus_file: Path, patterns: list[str], field: str) -> list[Path]:
    """The files of a field of the corpus file: as listed, the matches of each glob sorted by name.

    Raises:
        UserError: a name or glob matches no file, or one file is named twice.
    """
    found: list[Path] = []
    for pattern in patterns:
        try:
            matches = [path for path in _matches(corpus_file.parent, pattern) if path.is_file()]
        except (OSError, ValueError) as error:
            raise UserError(
                f"corpus file {corpus_file}, {field}: {pattern!r} cannot be found ({error}); mend it."
            ) from error
        if not matches:
            raise UserError(f"corpus file {corpus_file}, {field}: there is no file {pattern!r}; mend it.")
        found += matches
    if len(set(found)) < len(found):
        raise UserError(f"corpus file {corpus_file}, {field} names one file twice.")
    return found


def _matches(folder: Path, pattern: str) -> list[Path]:
    if (folder / pattern).exists():  # also a name with brackets in it
        return [folder / pattern]
    given = Path(pattern)
    base = Path(given.anchor) if given.is_absolute() else folder
    return sorted(base.glob(str(given.relative_to(given.anchor))))
