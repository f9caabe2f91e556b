"""The schema of a corpus file: which files hold which source's documents, and how much of them is held out."""

from pathlib import Path

from pydantic import Field, field_validator, model_validator

from recipes.errors import UserError
from recipes.load import read_yaml, validate
from recipes.schema import Strict

SAMPLE = Path(__file__).parent / "sample" / "corpus.yaml"
SUFFIXES = (".jsonl", ".jsonl.gz")


class Source(Strict):
    """Documents of one kind. A recipe's mixture names a source or a domain."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")  # a letter first: Megatron takes a prefix like `123` for a weight
    domain: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    files: list[str] = Field(min_length=1)  # relative to the corpus file; globs allowed
    text_field: str = "text"
    language: str
    licence: str

    @field_validator("files")
    @classmethod
    def _known_format(cls, files: list[str]) -> list[str]:
        for file in files:
            if not file.endswith(SUFFIXES):
                raise ValueError(f"expected file names that end in {' or '.join(SUFFIXES)}, found {file!r}")
        return files


class Corpus(Strict):
    """A corpus file, validated."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_]*$")
    heldout_fraction: float = Field(0.03, ge=0, lt=1)  # of the documents, by content hash
    minimum_characters: int = Field(1, ge=1)  # shorter documents are dropped
    sources: list[Source] = Field(min_length=1)

    @model_validator(mode="after")
    def _names(self) -> "Corpus":
        names = [source.name for source in self.sources]
        for source in self.sources:
            if names.count(source.name) > 1:
                raise ValueError(f"source names must differ, found {source.name!r} twice")
            if any(other.domain == source.name != other.name for other in self.sources):
                raise ValueError(f"{source.name!r} names a source and another's domain; a mixture could mean either")
        return self


def load_corpus(path: Path) -> Corpus:
    """Read a corpus file.

    Raises:
        UserError: missing, not YAML, or against the schema; the sentence names the field.
    """
    return validate(Corpus, read_yaml(path, "corpus"), f"corpus file {path}")


def source_files(corpus_file: Path, source: Source) -> list[Path]:
    """The files of `source`: as listed, the matches of each glob sorted by name.

    Raises:
        UserError: a name or glob matches no file, or one file is named twice.
    """
    found: list[Path] = []
    for pattern in source.files:
        try:
            matches = [path for path in _matches(corpus_file.parent, pattern) if path.is_file()]
        except (OSError, ValueError) as error:
            raise UserError(
                f"corpus file {corpus_file}, source {source.name}: {pattern!r} cannot be found ({error}); mend `files`."
            ) from error
        if not matches:
            raise UserError(
                f"corpus file {corpus_file}, source {source.name}: there is no file {pattern!r}; mend `files`."
            )
        found += matches
    if len(set(found)) < len(found):
        raise UserError(f"corpus file {corpus_file}, source {source.name}: `files` names one file twice.")
    return found


def _matches(folder: Path, pattern: str) -> list[Path]:
    if (folder / pattern).exists():  # also a name with brackets in it
        return [folder / pattern]
    given = Path(pattern)
    base = Path(given.anchor) if given.is_absolute() else folder
    return sorted(base.glob(str(given.relative_to(given.anchor))))
