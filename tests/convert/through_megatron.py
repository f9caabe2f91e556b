"""Restore imported checkpoints with NeMo's own IO, save them again with it, and keep the logits in between.

    torchrun --nproc-per-node RANKS through_megatron.py TENSOR_PARALLEL PIPELINE_PARALLEL FOLDER...

Each FOLDER holds `imported/`; `trained/` is added and, from one rank, `logits.pt` for `prompt.pt`.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch

from recipes.shape import Qwen3Shape

CONTENT = {"singleton_local_shards": False}  # as MegatronStrategy.sharded_state_dict_metadata says


def main(tensor_parallel: int, pipeline_parallel: int, folders: list[Path]) -> None:
    from recipes.engine import platform

    platform.prepare()
    start_ranks(tensor_parallel, pipeline_parallel)
    for folder in folders:
        shape = Qwen3Shape.from_hf(json.loads((folder / "imported" / "context" / "config.json").read_text()))
        model = build(shape, tensor_parallel, pipeline_parallel)
        restore(model, folder / "imported", shape)
        save(model, folder / "trained")
        if torch.distributed.get_world_size() == 1:
            keep_logits(model, folder, shape)


def start_ranks(tensor_parallel: int, pipeline_parallel: int) -> None:
    from megatron.core import parallel_state
    from megatron.core.tensor_parallel.random import model_parallel_cuda_manual_seed

    torch.distributed.init_process_group("gloo")
    parallel_state.initialize_model_parallel(tensor_parallel, pipeline_parallel)
    model_parallel_cuda_manual_seed(1)


def build(shape: Qwen3Shape, tensor_parallel: int, pipeline_parallel: int) -> Any:
    """This rank's part of the model, all NaN."""
    from megatron.core import parallel_state

    from recipes.engine.model import model_fields
    from recipes.engine.vocabulary import PaddedQwen3Config

    config = PaddedQwen3Config(
        **model_fields(shape, shape.max_position_embeddings),
        tensor_model_parallel_size=tensor_parallel,
        pipeline_model_parallel_size=pipeline_parallel,
        pipeline_dtype=torch.float32,
    )
    model = config.configure_model(
        tokenizer=None,
        pre_process=parallel_state.is_pipeline_first_stage(),
        post_process=parallel_state.is_pipeline_last_stage(),
    ).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(torch.nan)
    return model


def restore(model: Any, checkpoint: Path, shape: Qwen3Shape) -> None:
    """Load strictly, as MegatronStrategy does; ask for what Transformer Engine's modules would, too."""
    from megatron.core import parallel_state
    from megatron.core.transformer.utils import make_sharded_object_for_checkpoint
    from nemo.lightning.io.pl import MegatronCheckpointIO

    loader = MegatronCheckpointIO()
    wanted = model.sharded_state_dict(prefix="module.", metadata=loader.load_content_metadata(checkpoint))
    for layer in model.decoder.layers if parallel_state.get_tensor_model_parallel_rank() == 0 else []:
        for module in ("core_attention", "q_layernorm"):
            key = f"module.decoder.layers.self_attention.{module}._extra_state"
            place = [(0, layer.layer_number - 1, shape.num_hidden_layers)]
            wanted[f"engine.{key}.{place}"] = make_sharded_object_for_checkpoint(None, key, place)
    loaded = loader.load_checkpoint(checkpoint, {"state_dict": wanted}, strict=True)["state_dict"]
    if any(value is not None for key, value in loaded.items() if key.startswith("engine.")):
        raise ValueError("the state for Transformer Engine must be None")
    model.load_state_dict({key[7:]: value for key, value in loaded.items() if key.startswith("module.")})


def save(model: Any, checkpoint: Path) -> None:
    from nemo.lightning.io.pl import MegatronCheckpointIO

    state = {"state_dict": model.sharded_state_dict(prefix="module.", metadata=CONTENT), "global_step": 5}
    writer = MegatronCheckpointIO(save_ckpt_format="torch_dist")
    writer.save_checkpoint(state, checkpoint, storage_options={"content_metadata": CONTENT})


@torch.no_grad()
def keep_logits(model: Any, folder: Path, shape: Qwen3Shape) -> None:
    tokens = torch.load(folder / "prompt.pt")
    positions = torch.arange(tokens.shape[1]).expand_as(tokens)
    torch.save(model(tokens, positions, attention_mask=None)[..., : shape.vocab_size], folder / "logits.pt")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), [Path(folder) for folder in sys.argv[3:]])
    sys.stdout.flush()
    os._exit(0)  # gloo's threads may keep a finished process
