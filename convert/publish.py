"""Send an exported folder to the Hugging Face Hub: checked first, shown before, and never without a yes."""

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, Field, ValidationError
from rich.progress import Progress

from convert.hf_folder import HfFolder
from convert.manifest import NAME as MANIFEST
from convert.manifest import short_place
from convert.model_card import HERE, README, front_matter, is_generated, sealed, unsealed
from convert.passage import QUIET, read_back
from recipes.artifacts import read_fields
from recipes.errors import UserError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_WEIGHTS = (".safetensors", ".safetensors.index.json", ".bin", ".bin.index.json")


class _Term(BaseModel):
    place: str


class _Combination(BaseModel):
    method: str
    terms: list[_Term]


class _Places(BaseModel):
    """Where a manifest says that models lie: one, or those that a merge adds up."""

    source: str
    combination: _Combination | None = None


class _Manifest(_Places):
    """What sending relies on in the manifest of an export."""

    kind: Literal["export"]
    files: dict[Annotated[str, Field(pattern="^[^/]+$")], int]  # beside it -> bytes
    tensors: dict[str, str]  # -> digest


@dataclass(frozen=True)
class Parcel:
    """What would be sent, and what else the asked person has to know."""

    folder: Path
    repo_id: str
    private: bool
    licence: str | None
    files: dict[str, int]  # name -> bytes
    exists: bool  # whether the repository does
    obsolete: tuple[str, ...]  # weights in the repository that would stand beside these

    def __str__(self) -> str:
        """The question before sending."""
        where = f"the {'existing' if self.exists else 'new'} {'private' if self.private else 'PUBLIC'} repository"
        lines = [f"{size:>18,}  {name}" for name, size in self.files.items()]
        lines += [f"{'removed there':>18}  {name}" for name in self.obsolete]
        left = sorted(path.name for path in self.folder.iterdir() if path.name not in self.files)
        lines += [f"{'not sent':>18}  {name}" for name in left]
        licence = f"licence {self.licence}" if self.licence else "no licence stated"
        total = f"{len(self.files)} files, {sum(self.files.values()):,} bytes, {licence}"
        return "\n".join([*lines, f"Send {total}, to {where} {self.repo_id}?"])


def publish(
    folder: Path, repo_id: str, private: bool, confirm: Callable[[str], bool], progress: Progress = QUIET
) -> str | None:
    """Send `folder` as the model `repo_id`, if `confirm` says yes to the question that it is given.

    Args:
        private: of a new repository; an existing one must be as asked.
        confirm: for example `ask`.

    Returns:
        The address of the model, or None if the answer was no: then nothing was sent.

    Raises:
        UserError: not a whole export, no access token, no connection, or the Hub refuses.
    """
    api = _connect(repo_id)
    files, card = _checked(folder, progress)
    obsolete = _obsolete(api, repo_id, private, files)
    licence = card.get("license")
    parcel = Parcel(folder, repo_id, private, licence, files, obsolete is not None, tuple(obsolete or ()))
    if not progress.disable:
        progress.stop()  # a bar would be drawn over the question
    return _send(api, parcel) if confirm(str(parcel)) else None


def ask(question: str) -> bool:
    """Show a question and read yes or no; no where nobody sits at a terminal."""
    print(question)
    if not sys.stdin.isatty():
        print("nothing was sent: a yes has to be typed at a terminal.")
        return False
    return input("yes or no: ").strip().lower() in {"y", "yes"}


def _connect(repo_id: str) -> "HfApi":
    """The Hub's client, with a token; the Hub itself is not asked yet."""
    from huggingface_hub import HfApi, constants, get_token
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise UserError(f"repository {repo_id!r}: expected OWNER/NAME ({_one_line(error)}).") from error
    if constants.HF_HUB_OFFLINE:
        raise UserError("HF_HUB_OFFLINE is set, so nothing can be sent; unset it where there is internet.")
    if not get_token():
        raise UserError("there is no access token for the Hub; log in with `hf auth login`, or set HF_TOKEN.")
    return HfApi()


def _checked(folder: Path, progress: Progress) -> tuple[dict[str, int], dict[str, Any]]:
    """The files of a whole export with their sizes, and the fields of its card."""
    content = read_fields(folder / MANIFEST)
    try:
        manifest = _Manifest.model_validate(content)
    except ValidationError as error:
        raise UserError(
            f"{folder / MANIFEST}: expected the manifest of an export; make one with `cpt convert export`."
        ) from error
    for name, size in manifest.files.items():
        path = folder / name
        if not path.is_file() or (name != README and path.stat().st_size != size):  # the card may be edited
            raise UserError(f"{path}: missing or not of {size:,} bytes as it was exported; export again.")
    card = _card(folder / README)
    read_back(HfFolder(folder), manifest.tensors, folder, progress)
    names = sorted({*manifest.files, README, MANIFEST})
    return {name: (folder / name).stat().st_size for name in names}, card


def _card(readme: Path) -> dict[str, Any]:
    """The front matter, if the Hub will read it."""
    from huggingface_hub import ModelCard
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    fields = front_matter(readme)
    base = fields.get("base_model") or []
    try:
        ModelCard(readme.read_text(encoding="utf-8"))
        for name in [base] if isinstance(base, str) else base:
            validate_repo_id(name)
    except (HFValidationError, ValueError, TypeError) as error:
        raise UserError(f"{readme}: the Hub cannot read its front matter ({_one_line(error)}); mend it.") from error
    return fields


def _obsolete(api: "HfApi", repo_id: str, private: bool, files: dict[str, int]) -> list[str] | None:
    """Weights in the repository that are none of `files`, so that no loader takes them; None: no such repository."""
    from huggingface_hub.utils import RepositoryNotFoundError

    try:
        found = api.model_info(repo_id)
    except RepositoryNotFoundError:
        return None
    except OSError as error:  # also what requests and the Hub's client raise
        raise UserError(f"{api.endpoint}: the Hub cannot be asked ({_one_line(error)}); try again online.") from error
    if bool(found.private) != private:
        is_it, asked = ("private", "public") if found.private else ("public", "private")
        raise UserError(f"{repo_id} exists and is {is_it}, not {asked}; choose another name or change it on the Hub.")
    there = [file.rfilename for file in found.siblings or []]
    return [name for name in there if name.endswith(_WEIGHTS) and name not in files]


def _send(api: "HfApi", parcel: Parcel) -> str:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    contents = {name: str(parcel.folder / name) for name in parcel.files}
    operations: Sequence[Any] = [
        *(CommitOperationDelete(name) for name in parcel.obsolete),
        *(CommitOperationAdd(name, path) for name, path in contents.items() if name not in (README, MANIFEST)),
        CommitOperationAdd(MANIFEST, _without_paths(parcel.folder / MANIFEST)),
        CommitOperationAdd(README, _card_on_the_hub(parcel.folder / README, parcel.repo_id)),
    ]
    try:
        url = api.create_repo(parcel.repo_id, private=parcel.private, exist_ok=True)
        api.create_commit(parcel.repo_id, operations, commit_message="Model exported by cpt-launcher")
    except (OSError, ValueError) as error:
        raise UserError(
            f"{api.endpoint}: {parcel.repo_id} was not sent ({_one_line(error)}); run the same command again."
        ) from error
    return str(url)


def _card_on_the_hub(readme: Path, repo_id: str) -> bytes:
    """A generated card loads the model by its name there; an edited one goes as it is."""
    text = readme.read_text(encoding="utf-8")
    if is_generated(text):
        text = sealed(unsealed(text).replace(HERE, f'model_id = "{repo_id}"'))
    return text.encode()


def _without_paths(manifest: Path) -> bytes:
    """The manifest with the places that it names shortened."""
    content = read_fields(manifest)
    stated = _Places.model_validate(content)
    content["source"] = short_place(stated.source)
    if stated.combination:
        places = [short_place(term.place) for term in stated.combination.terms]
        for term, place in zip(content["combination"]["terms"], places, strict=True):
            term["place"] = place
        if len(places) > 1:
            content["source"] = f"{stated.combination.method} of {', '.join(places)}"
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
