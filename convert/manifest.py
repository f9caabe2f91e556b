"""conversion.json: what was converted from where, with which tools, and the digest of every tensor."""

import importlib.metadata
from pathlib import Path
from typing import Any

import torch

from recipes.artifacts import digest, tool_version, write_json
from recipes.shape import Qwen3Shape

NAME = "conversion.json"


def write_manifest(
    folder: Path,
    kind: str,
    source: Path,
    shape: Qwen3Shape,
    dtype: torch.dtype,
    tensors: dict[str, str],
    iteration: int | None = None,
    inputs: Any = None,
) -> dict[str, Any]:
    """Write the manifest into `folder` and return it.

    `tensors` are sha256 of the Hugging Face tensors in both directions, so an import and its export have one `digest`.
    `inputs` is what the caller compares to see that the work is done already (`recipes.artifacts.matching_receipt`).
    """
    content = {
        "kind": kind,
        "inputs": inputs,
        "source": str(source),
        "iteration": iteration,
        "shape": shape.model_dump(),
        "dtype": str(dtype).removeprefix("torch."),
        "digest": digest(tensors),
        "tensors": tensors,
        "tools": {
            "cpt-launcher": tool_version(),
            **{name: importlib.metadata.version(name) for name in ("torch", "safetensors")},
        },
    }
    write_json(folder / NAME, content)
    return content
