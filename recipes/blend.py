"""`phases/<n>/blend.json`: what one phase reads. Written by the data side, read by training."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from recipes.artifacts import read_json
from recipes.errors import UserError
from recipes.layout import RunFolder


class Blend(BaseModel):
    """The fields that training needs; others may be there."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    prefixes: list[str] = Field(min_length=1)  # relative to the phase folder, without .bin/.idx; each is one epoch
    sequence_length: int = Field(gt=0)  # tokens
    global_batch_size: int = Field(gt=0)  # sequences
    iterations: int = Field(gt=0)
    packing: Literal["concatenate", "best_fit"] = "concatenate"  # best_fit: every document of a slice is one pack
    seed: int = Field(ge=0)
    separator_id: int = Field(ge=0)
    vocab_size: int = Field(gt=0)
    digest: str
    slices: dict[str, str] = {}  # file -> sha256: every .idx, and the .bin of packs
    shards: dict[str, dict[str, str]] = {}  # source -> file -> sha256, as its receipt said when the slices were cut

    @property
    def samples(self) -> int:
        """Sequences that training reads."""
        return self.iterations * self.global_batch_size


def load_blend(run: RunFolder, phase: int) -> Blend:
    """The blend of phase `phase`, with every file that it names present.

    Raises:
        UserError: the mixture was not built, or a file of it is missing or malformed.
    """
    folder = run.phase(phase)
    path = folder / "blend.json"
    if not path.is_file():
        raise UserError(
            f"{path}: phase {phase} has no mixture; build it with python data_prep/build_mixture.py --phase {phase}."
        )
    try:
        blend = Blend.model_validate(read_json(path))
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(
            f"{path}: field {'.'.join(map(str, first['loc']))}: {first['msg']}; rebuild the mixture."
        ) from error
    for source, files in blend.shards.items():
        receipt = run.shards / source / "receipt.json"
        if not receipt.is_file() or read_json(receipt).get("files") != files:
            raise UserError(
                f"{folder}: the shards of {source} were built again after this mixture was cut from them; "
                f"rebuild it with `python data_prep/build_mixture.py --phase {phase}`."
            )
    for prefix in blend.prefixes:
        for suffix in (".idx", ".bin"):
            if not (folder / (prefix + suffix)).is_file():
                raise UserError(f"{folder / (prefix + suffix)}: missing; rebuild the mixture of phase {phase}.")
    return blend
