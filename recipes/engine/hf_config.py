"""The configuration of a Hugging Face folder, as the installed `transformers` has to be told it."""

from pathlib import Path
from typing import Any

from recipes.artifacts import read_json


def hf_config(folder: Path) -> Any:
    """The config of `folder`. transformers 5 writes rope_theta into `rope_parameters`, where 4 does not look."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    rope = read_json(folder / "config.json").get("rope_parameters")
    if isinstance(rope, dict) and "rope_theta" in rope:
        config.rope_theta = rope["rope_theta"]
    return config
