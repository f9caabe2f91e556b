"""Which of the two formats a folder holds."""

from pathlib import Path

from convert.hf_folder import HfFolder
from convert.nemo_checkpoint import NemoWeights
from convert.weights import Weights
from recipes.shape import Qwen3Shape


def is_hf_folder(folder: Path) -> bool:
    """True for the folder of a Hugging Face model; a NeMo checkpoint has no config.json of its own."""
    return (folder / "config.json").is_file()


def open_weights(folder: Path, shape: Qwen3Shape) -> Weights:
    """The model in `folder`; `shape` is what a NeMo checkpoint does not state.

    Raises:
        UserError: neither of the two, or unusable.
    """
    return HfFolder(folder) if is_hf_folder(folder) else NemoWeights(folder, shape)
