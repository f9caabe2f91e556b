"""Runs forward and backward passes of small models and prints, as JSON, the bytes of the tensors that were alive.

    python measure_memory.py '[{"precision": "32", "tensor": 2, "recompute": "full", "chunk": 64, "vocabulary": 256}]'

The answer to each case is of tensor-parallel rank 0: {"layer": bytes that one layer keeps for the backward pass,
"kept": by the whole model of LAYERS, "peak": the most at any moment}. Parameters do not count, and their gradients
only until they would be added up. A program of its own, because the CPU compatibility layer changes torch.
"""

import json
import os
import sys
import weakref
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from launch.environment import free_port
from recipes.engine.platform import prepare
from recipes.load import load_recipe

SHAPE = load_recipe("qwen3_tiny").model.shape
SEQUENCE, MICRO_BATCH, LAYERS = 128, 2, 3


class Alive(TorchDispatchMode):
    """Bytes of the tensors that operations made and nobody has let go of; views and what was there before are none."""

    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__()
        self.bytes = self.peak = 0
        self._storages = weakref.WeakSet(parameter.untyped_storage() for parameter in module.parameters())

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, torch.Tensor):
                self._count(tensor.untyped_storage())
        return made

    def _count(self, storage: torch.UntypedStorage) -> None:
        if storage not in self._storages:
            self._storages.add(storage)
            self.bytes += storage.nbytes()
            self.peak = max(self.peak, self.bytes)
            weakref.finalize(storage, self._gone, storage.nbytes())

    def _gone(self, size: int) -> None:
        self.bytes -= size


def main(cases: list[dict[str, Any]]) -> None:
    prepare()
    print(json.dumps([_forked(case) for case in cases]))


def _forked(case: dict[str, Any]) -> dict[str, int]:
    ranks = case["tensor"]
    os.environ.update(WORLD_SIZE=str(ranks), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(free_port()))
    answer, to_parent = os.pipe()
    children = []
    for rank in range(ranks):
        if child := os.fork():
            children.append(child)
            continue
        os.environ.update(RANK=str(rank))
        found = _as_one_rank(case)
        if rank == 0:
            os.write(to_parent, json.dumps(found).encode())
        os._exit(0)
    assert all(os.waitpid(child, 0)[1] == 0 for child in children)
    return json.loads(os.read(answer, 10_000))


def _as_one_rank(case: dict[str, Any]) -> dict[str, int]:
    from megatron.core import parallel_state
    from megatron.core.tensor_parallel.random import model_parallel_cuda_manual_seed

    torch.distributed.init_process_group("gloo")
    parallel_state.initialize_model_parallel(case["tensor"], create_gloo_process_groups=False)
    model_parallel_cuda_manual_seed(1)
    less, whole = (_measured(case, layers) for layers in (LAYERS - 1, LAYERS))
    return {"layer": whole[0] - less[0], "kept": whole[0], "peak": whole[1]}


def _measured(case: dict[str, Any], layers: int) -> tuple[int, int]:
    """Bytes alive after the forward pass, and at most."""
    model = _model(case, layers)
    for parameter in model.parameters():
        parameter.register_post_accumulate_grad_hook(_add_up)
    tokens = torch.randint(3, 200, (MICRO_BATCH, SEQUENCE))
    batch = {"input_ids": tokens, "position_ids": torch.arange(SEQUENCE).expand_as(tokens), "labels": tokens}
    model(**batch, attention_mask=None).mean().backward()  # fills Megatron-Core's buffers, which then stay
    with Alive(model) as alive:
        loss = model(**batch, attention_mask=None)
        kept = alive.bytes
        loss.mean().backward()
    return kept, alive.peak


def _add_up(parameter: torch.nn.Parameter) -> None:
    """Megatron-Core adds it to its own buffer and lets it go."""
    parameter.grad = None


def _model(case: dict[str, Any], layers: int) -> torch.nn.Module:
    from recipes.engine.build import _RECOMPUTE
    from recipes.engine.chunked_loss import ChunkedQwen3Config
    from recipes.engine.model import machine_fields, shape_fields

    shape = SHAPE.model_copy(update={"num_hidden_layers": layers, "vocab_size": case["vocabulary"]})
    config = ChunkedQwen3Config(
        **shape_fields(shape, SEQUENCE, case["precision"]),
        **machine_fields(cuda=False, transformer_engine=False),
        **_RECOMPUTE[case["recompute"]],
        loss_chunk_tokens=case["chunk"],
    )
    config.tensor_model_parallel_size, config.sequence_parallel = case["tensor"], case["tensor"] > 1
    return config.configure_model(tokenizer=None, pre_process=True, post_process=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
