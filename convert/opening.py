"""Which of the two formats a folder holds, and the model in it."""

from pathlib import Path

from convert.hf_folder import HfFolder
from convert.nemo_checkpoint import NemoWeights
from convert.origin import stated_shape
from recipes.errors import UserError
from recipes.shape import Qwen3Shape


def is_hf_folder(folder: Path) -> bool:
    """True for the folder of a Hugging Face model; a NeMo checkpoint has no config.json of its own."""
    return (folder / "config.json").is_file()


def open_weights(folder: Path, shape: Qwen3Shape, allow_pickle: bool = False) -> HfFolder | NemoWeights:
    """The model in `folder`; `shape` is for a NeMo checkpoint, whose tensors do not say all of it.

    Raises:
        UserError: neither of the two, unusable, or a NeMo checkpoint that was made with another shape.
    """
    return HfFolder(folder, allow_pickle) if is_hf_folder(folder) else open_checkpoint(folder, shape)


def open_checkpoint(folder: Path, shape: Qwen3Shape) -> NemoWeights:
    """The NeMo checkpoint in `folder` as a model of `shape`.

    Rotary base and epsilon are in no tensor, and a smaller vocabulary would cut tokens off: its import or its run is
    asked. Positions may differ, as those of a base and its post-trained model do.

    Raises:
        UserError: no such checkpoint, unusable, or made with another shape.
    """
    weights = NemoWeights(folder, shape)
    stated = stated_shape(weights.checkpoint.folder)
    for field, value in shape.model_dump(exclude={"initializer_range", "max_position_embeddings"}).items():
        if stated and getattr(stated, field) != value:
            raise UserError(
                f"{folder}: it was made with {field} {getattr(stated, field)!r}, but the base says {value!r}; give "
                f"the base it comes from."
            )
    return weights
