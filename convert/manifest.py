"""conversion.json: what was converted from where, with which tools, and the digest of every tensor."""

from pathlib import Path
from typing import Any

import torch

from convert.hf_writer import TOKENIZER_FILES
from convert.weights import Weights
from recipes.artifacts import digest, file_digest, package_version, tool_version, write_json

NAME = "conversion.json"
_TOOLS = ("torch", "safetensors", "transformers", "megatron-core", "nemo-toolkit")


def write_manifest(
    folder: Path,
    kind: str,
    source: Weights,
    dtype: torch.dtype,
    tensors: dict[str, str],
    tokenizer: Path | None = None,
    **more: Any,
) -> dict[str, Any]:
    """Write the manifest into `folder`, after everything else, and return it.

    Args:
        tensors: digests of the Hugging Face tensors in both directions, so an import and its export have one `digest`.
        tokenizer: the folder of the model's tokenizer; by default `folder`.
        more: what else is known. `inputs` is what the caller compares to see that the work is done already
            (`recipes.artifacts.matching_receipt`).
    """
    content = {
        "kind": kind,
        "source": _absolute(source),
        "iteration": source.iteration,
        **more,
        "shape": source.shape.model_dump(),
        "dtype": str(dtype).removeprefix("torch."),
        "files": {str(path.relative_to(folder)): path.stat().st_size for path in _files(folder)},
        "tokenizer": tokenizer_digests(tokenizer or folder),
        "tools": tools(),
        "digest": digest(tensors),
        "tensors": tensors,
    }
    write_json(folder / NAME, content)
    return content


def _absolute(source: Weights) -> str:
    """Where the source lies, or what it is made of."""
    return str(source.folders[0].absolute()) if len(source.folders) == 1 else source.place


def short_place(place: str) -> str:
    """The last two names of a path: where files lie on somebody's disk is nobody's business."""
    return "/".join(name for name in Path(place).parts[-2:] if name != "/") or place


def tools() -> dict[str, str | None]:
    """The versions of what took part; None for what is not installed as a package."""
    return {"cpt-launcher": tool_version(), **{name: package_version(name) for name in _TOOLS}}


def tokenizer_digests(folder: Path) -> dict[str, str]:
    """sha256 of each of the tokenizer's files in `folder`."""
    return {name: file_digest(folder / name) for name in TOKENIZER_FILES if (folder / name).is_file()}


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())
