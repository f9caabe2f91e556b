"""The JSON files that vouch for data: receipts, blend and manifest, as far as verification needs them.

Each carries `digest`, that of all its other fields.
"""

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from data_prep.cursor_file import cursor_file
from data_prep.verify.report import Report
from recipes.artifacts import is_sealed, read_json
from recipes.errors import UserError


class Record(BaseModel):
    """The fields that are checked; others may be there."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)


class Sealed(Record):
    """A file."""

    digest: str


class Account(Record):
    """What one dataset holds."""

    documents: int = Field(ge=0)
    tokens: int = Field(ge=0)
    bytes: int = Field(ge=0)  # of the .bin
    files: dict[str, str]  # name -> sha256; empty if no document was left


class ShardReceipt(Account, Sealed):
    """shards/<source>/receipt.json."""

    source: str
    dtype: str
    separator_id: int = Field(ge=0)
    vocab_size: int = Field(gt=0)
    heldout: Account


class HeldoutReceipt(Sealed):
    """heldout/receipt.json."""

    sources: dict[str, Account]


class PhaseBlend(Sealed):
    """phases/<n>/blend.json."""

    prefixes: list[str] = Field(min_length=1)
    samples: dict[str, int]  # per prefix
    samples_total: int
    sequence_length: int = Field(gt=0)
    global_batch_size: int = Field(gt=0)
    iterations: int = Field(gt=0)
    separator_id: int
    vocab_size: int
    slices: dict[str, str]  # file -> sha256
    shards: dict[str, dict[str, str]]  # source -> file -> sha256, when the slices were cut
    packing: str | None = None


class Plan(Sealed):
    """plan.json: only its digest is checked."""


class Row(Record):
    """What the manifest's table says of one source."""

    source: str
    documents: int
    tokens: int


class Table(Record):
    number: int  # of the phase
    sources: list[Row]


class Given(Record):
    """Where a source stands after the phase: the digest of its cursor."""

    sha256: str


class Manifest(Sealed):
    """phases/<n>/manifest.json."""

    files: dict[str, str]
    table: Table
    after: dict[str, Given] = {}

    @property
    def digests(self) -> dict[str, str]:
        """sha256 of all files that it vouches for."""
        return self.files | {cursor_file(name): given.sha256 for name, given in self.after.items()}


Kind = TypeVar("Kind", bound=Sealed)


def read_record(report: Report, path: Path, kind: type[Kind], remedy: str) -> Kind | None:
    """The record at `path`, or None and a problem in the report."""
    report.files.append(path)
    try:
        content = read_json(path)
        record = kind.model_validate(content)
    except UserError as error:
        report.problem(path, "record", str(error).removeprefix(f"{path}: ").rstrip("."), remedy)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "the whole"
        report.problem(path, "record", f"field {field}: {first['msg']}", remedy)
    else:
        if not is_sealed(content):
            report.problem(path, "digest", "its content is not what its own digest was made from", remedy)
        return record
    return None
