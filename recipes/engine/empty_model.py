"""A Qwen3 of `transformers` without its weights, to be run streamed (`recipes.engine.streamed`)."""

from pathlib import Path
from typing import Any

import torch

from recipes.engine.hf_config import hf_config


def empty_model(folder: Path) -> Any:
    """Qwen3ForCausalLM as the config.json in `folder` says: parameters on the meta device, buffers in memory."""
    from transformers import Qwen3ForCausalLM

    config = hf_config(folder)
    with torch.device("meta"):
        model = Qwen3ForCausalLM(config).eval()
    model.model.rotary_emb = type(model.model.rotary_emb)(config)  # its frequencies are computed, and not in any file
    return model
