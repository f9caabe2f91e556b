"""Builds the ranks of a cluster in one process, without GPUs or memory:  python -m recipes.engine.rehearse REQUEST

REQUEST is a `recipes.rehearsal.Request` as JSON; the answer is one line of JSON, a `BuiltPhase`, per phase. Process
groups of the real world size are fake (no one answers, and nothing here asks), tensors lie on the meta device (shapes
without content). The configuration is the cluster's, of `recipes.engine.build`. Where Transformer Engine is not
installed the modules of `recipes.engine.layers` stand in for its own; they have the same parameters. The process is its
own because this changes torch and Megatron-Core.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from recipes.engine.platform import has_cuda, has_transformer_engine, prepare
from recipes.rehearsal import BuiltPhase, BuiltRank, Request
from recipes.terminal import run_command


def rehearse(request: Request) -> Iterator[BuiltPhase]:
    """Build the first replica of every phase, and walk the data order of all replicas. Call `prepare` first.

    Raises:
        UserError: a phase asks for what cannot be.
    """
    import torch

    # megatron/core/distributed/param_and_grad_buffer.py: device=
    torch.cuda.current_device = lambda: "meta"  # type: ignore[assignment,return-value]
    for number in request.phases:
        yield _phase(request, number)


def _phase(request: Request, number: int) -> BuiltPhase:
    import fiddle

    from recipes.engine.model import machine_fields
    from recipes.engine.show import configuration
    from recipes.engine.walk import walk

    config = configuration(request.recipe, number, request.cluster)
    without_memory = {"init_model_with_meta_device": True, "perform_initialization": False}
    for name, value in (machine_fields(has_cuda(), has_transformer_engine()) | without_memory).items():
        setattr(config.model.config, name, value)
    world, strategy = request.cluster.world_size, fiddle.build(config.trainer.strategy)
    ranks: dict[int, BuiltRank] = {}
    todo = {0}
    while todo:
        rank = todo.pop()
        with _groups(rank, world, strategy.parallelism):
            ranks[rank] = _build(fiddle.build(config.model), strategy, rank)
            todo |= _same_replica() - ranks.keys()
    with _groups(0, world, strategy.parallelism):
        walked = walk(fiddle.build(config.data), request.recipe.phase(number).samples, replicas=len(ranks[0].replicas))
    return BuiltPhase(number=number, ranks=[ranks[rank] for rank in sorted(ranks)], walk=walked)


@contextmanager
def _groups(rank: int, world: int, parallelism: Any) -> Iterator[None]:
    """Within the block this process is `rank`, in process groups of the whole world."""
    import torch.distributed as dist
    from megatron.core import parallel_state
    from torch.testing._internal.distributed.fake_pg import FakeStore

    dist.init_process_group("fake", store=FakeStore(), rank=rank, world_size=world)
    parallel_state.initialize_model_parallel(
        tensor_model_parallel_size=parallelism.tensor_model_parallel_size,
        pipeline_model_parallel_size=parallelism.pipeline_model_parallel_size,
        context_parallel_size=parallelism.context_parallel_size,
        create_gloo_process_groups=False,
    )
    try:
        yield
    finally:
        parallel_state.destroy_model_parallel()
        dist.destroy_process_group()


def _same_replica() -> set[int]:
    """Ranks of the world in the tensor, context and pipeline groups of this one."""
    import torch.distributed as dist
    from megatron.core import parallel_state

    groups = (
        parallel_state.get_tensor_model_parallel_group(),
        parallel_state.get_context_parallel_group(),
        parallel_state.get_pipeline_model_parallel_group(),
    )
    return {rank for group in groups for rank in dist.get_process_group_ranks(group)}


def _build(model: Any, strategy: Any, rank: int) -> BuiltRank:
    """The modules of this rank in Megatron-Core's buffers, as `nemo.lightning.megatron_parallel` puts them there."""
    import torch.distributed as dist
    from megatron.core import parallel_state
    from megatron.core.transformer.module import Float16Module
    from nemo.lightning._strategy_lib import set_model_parallel_attributes
    from nemo.lightning.megatron_parallel import DDP

    config = set_model_parallel_attributes(model, strategy.parallelism)
    config.context_parallel_size = 1  # it splits no parameter, and only Transformer Engine's attention knows it
    network = config.configure_model(tokenizer=None)
    sizes = {name: parameter.numel() for name, parameter in network.named_parameters()}
    norms = sum(parameter.numel() for parameter in network.parameters() if parameter.dim() == 1)
    tied_copy = sizes.get("output_layer.weight", 0) if config.share_embeddings_and_output_weights else 0
    module = Float16Module(config, network) if config.bf16 else network
    buffers = DDP(config, strategy.ddp_config, module).buffers
    return BuiltRank(
        rank=rank,
        tensor=parallel_state.get_tensor_model_parallel_rank(),
        context=parallel_state.get_context_parallel_rank(),
        stage=parallel_state.get_pipeline_model_parallel_rank(),
        replicas=dist.get_process_group_ranks(parallel_state.get_data_parallel_group()),
        parameters=sum(sizes.values()),
        norms=norms,
        tied_copy=tied_copy,
        weight_bytes=sum(buffer.param_data.nbytes for buffer in buffers),
        gradient_bytes=sum(buffer.grad_data.nbytes for buffer in buffers),
        shard_elements=sum(buffer.numel // buffer.data_parallel_world_size for buffer in buffers),
    )


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print goes with the errors
    request = Request.model_validate_json(sys.argv[1])
    prepare()
    for phase in rehearse(request):
        print(phase.model_dump_json(), file=answers, flush=True)


if __name__ == "__main__":
    run_command(main)
