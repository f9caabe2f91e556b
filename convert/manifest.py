"""conversion.json: what was converted from where, with which tools, and the digest of every tensor."""

import importlib.metadata
from pathlib import Path
from typing import Any

import torch

from convert.weights import Weights
from recipes.artifacts import digest, file_digest, tool_version, write_json

NAME = "conversion.json"
_TOOLS = ("torch", "safetensors", "transformers", "megatron-core", "nemo-toolkit")


def write_manifest(
    folder: Path, kind: str, source: Weights, dtype: torch.dtype, tensors: dict[str, str], **more: Any
) -> dict[str, Any]:
    """Write the manifest into `folder`, after everything else, and return it.

    Args:
        tensors: digests of the Hugging Face tensors in both directions, so an import and its export have one `digest`.
        more: what else is known. `inputs` is what the caller compares to see that the work is done already
            (`recipes.artifacts.matching_receipt`).
    """
    content = {
        "kind": kind,
        "source": source.place,
        "iteration": source.iteration,
        **more,
        "shape": source.shape.model_dump(),
        "dtype": str(dtype).removeprefix("torch."),
        "files": {str(path.relative_to(folder)): path.stat().st_size for path in _files(folder)},
        "tokenizer": {path.name: file_digest(path) for path in _files(folder) if path.name == "tokenizer.json"},
        "tools": {"cpt-launcher": tool_version(), **{name: importlib.metadata.version(name) for name in _TOOLS}},
        "digest": digest(tensors),
        "tensors": tensors,
    }
    write_json(folder / NAME, content)
    return content


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())
