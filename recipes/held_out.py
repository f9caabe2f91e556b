"""`heldout/`: documents that no phase trains on, tokenized by the data side, scored while training."""

from pathlib import Path

from pydantic import BaseModel

from recipes.errors import UserError
from recipes.layout import RunFolder
from recipes.load import read_stated
from recipes.schema import Recipe


class _Source(BaseModel):
    domain: str
    documents: int


class _HeldOut(BaseModel):
    """What heldout/receipt.json says of every source."""

    sources: dict[str, _Source]


def held_out_domains(recipe: Recipe, run: RunFolder) -> dict[str, str]:
    """Source -> domain of every source that has held-out documents, each as heldout/<source>.{bin,idx}.

    Raises:
        UserError: the folder was not written by `cpt data prepare`, a file of it is missing, nothing is held out, or
            checkpoints are to be chosen by a domain that is not among them.
    """
    path = run.heldout / "receipt.json"
    if not path.is_file():
        raise UserError(
            f"{path}: validation needs the held-out documents of the shards, which are not there; build them with "
            f"`cpt data prepare`, or leave it out with --set validation=null --set checkpoint.keep_best=0."
        )
    sources = read_stated(_HeldOut, path).sources
    domains = {name: source.domain for name, source in sources.items() if source.documents}
    for file in (run.heldout / f"{name}{suffix}" for name in domains for suffix in (".idx", ".bin")):
        _check(file)
    if not domains:
        raise UserError(
            f"{path}: no document is held out, so there is nothing to validate on; raise heldout_fraction in the "
            f"corpus file, or leave validation out with --set validation=null --set checkpoint.keep_best=0."
        )
    by = recipe.checkpoint.best_by
    if recipe.checkpoint.keep_best and by and by not in domains.values():
        raise UserError(
            f"checkpoint.best_by: {by!r} has no held-out documents; choose one of {sorted(set(domains.values()))}."
        )
    return domains


def _check(file: Path) -> None:
    if not file.is_file():
        raise UserError(f"{file}: missing; build the shards again with `cpt data prepare`.")
