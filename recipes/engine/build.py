"""A phase of a recipe as NeMo objects, put together as `nemo.collections.llm.recipes.qwen3_1p7b` does."""

import os
from pathlib import Path
from typing import Any, NamedTuple

import nemo_run as run
import torch
from lightning.fabric.plugins.environments import TorchElasticEnvironment
from lightning.pytorch.loggers import TensorBoardLogger
from megatron.core.distributed import DistributedDataParallelConfig
from megatron.core.optimizer import OptimizerConfig
from nemo import lightning as nl
from nemo.collections import llm
from nemo.collections.llm.gpt.model.qwen3 import Qwen3Model

from recipes.blend import Blend
from recipes.checkpoints import Start
from recipes.cluster import check_context
from recipes.engine.checkpoint import PhaseCheckpoint, auto_resume
from recipes.engine.chunked_loss import ChunkedQwen3Config
from recipes.engine.data_module import PhaseData
from recipes.engine.documents import document_fields
from recipes.engine.model import machine_fields, shape_fields
from recipes.engine.optimizer import PhaseOptimizer
from recipes.engine.platform import has_cuda, has_transformer_engine
from recipes.engine.schedules import PhaseSchedule
from recipes.engine.strategy import PhaseStrategy
from recipes.errors import UserError
from recipes.layout import RunFolder
from recipes.schedule import phase_curve
from recipes.schema import Phase, Recipe, Recompute

_RECOMPUTE: dict[Recompute, dict[str, Any]] = {
    "none": {},
    # Megatron-Core's own default recomputes attention, of which flash attention keeps nothing large; the MLP keeps most
    "selective": {"recompute_granularity": "selective", "recompute_modules": ["mlp"]},
    "full": {"recompute_granularity": "full", "recompute_method": "uniform", "recompute_num_layers": 1},
}


class Machine(NamedTuple):
    """What the NeMo objects depend on besides the recipe."""

    cuda: bool
    transformer_engine: bool
    nodes: int
    ranks_per_node: int


def this_machine() -> Machine:
    """As torchrun's variables and the installed packages say."""
    local_ranks = int(os.environ["LOCAL_WORLD_SIZE"])
    nodes = int(os.environ["WORLD_SIZE"]) // local_ranks
    return Machine(has_cuda(), has_transformer_engine(), nodes, local_ranks)


def pretraining(
    recipe: Recipe, number: int, folder: RunFolder, blend: Blend, start: Start, machine: Machine | None = None
) -> run.Partial:
    """The whole job of phase `number`; `fiddle.build(pretraining(…))()` trains it. Every part can be changed.

    Args:
        machine: what it runs on; by default this one.

    Raises:
        UserError: the phase asks for what cannot be.
    """
    phase, machine = recipe.phase(number), machine or this_machine()
    _check(recipe, number, start, machine)
    return run.Partial(
        llm.pretrain,
        model=run.Config(Qwen3Model, config=_model(recipe, phase, machine)),
        data=_data(phase, folder.phase(number), blend, machine),
        trainer=_trainer(recipe, phase, machine),
        log=_log(recipe, number, folder),
        resume=auto_resume(start),
        optim=_optimizer(recipe, number),
    )


def _check(recipe: Recipe, number: int, start: Start, machine: Machine) -> None:
    phase = recipe.phase(number)
    try:
        check_context(phase, machine.transformer_engine)
    except ValueError as error:
        raise UserError(f"{error}.") from error
    if start.optimizer and machine.cuda and _shards(phase) != _shards(recipe.phase(number - 1)):
        raise UserError(
            f"phase {phase.name}: optimizer_state: carry needs the tensor_parallel and pipeline_parallel of the phase "
            f"before on GPUs, where checkpoints are written for one layout; reset it, or keep the layout."
        )


def _shards(phase: Phase) -> tuple[int, int]:
    return phase.tensor_parallel, phase.pipeline_parallel


def _model(recipe: Recipe, phase: Phase, machine: Machine) -> run.Config:
    masking = document_fields(machine.transformer_engine) if phase.document_masking else {}
    return run.Config(
        ChunkedQwen3Config,
        **shape_fields(recipe.model.shape, phase.sequence_length, recipe.precision),
        **(machine_fields(machine.cuda, machine.transformer_engine) | masking),
        **_RECOMPUTE[phase.recompute],
        loss_chunk_tokens=phase.loss_chunk_tokens,
    )


def _data(phase: Phase, folder: Path, blend: Blend, machine: Machine) -> run.Config:
    return run.Config(
        PhaseData,
        folder=folder,
        blend=blend,
        micro_batch_size=phase.micro_batch_size,
        num_workers=2 if machine.cuda else 0,
        document_masking=phase.document_masking,
    )


def _trainer(recipe: Recipe, phase: Phase, machine: Machine) -> run.Config:
    return run.Config(
        nl.Trainer,
        accelerator="gpu" if machine.cuda else "cpu",
        devices=machine.ranks_per_node,
        num_nodes=machine.nodes,
        max_steps=phase.iterations,
        strategy=_strategy(recipe, phase, machine),
        # torchrun's variables are set under srun too (launch/environment.py); Lightning would else ask Slurm itself
        plugins=[_precision(recipe), run.Config(TorchElasticEnvironment)],
        limit_val_batches=0,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,  # Megatron's sampler shares the samples out
        log_every_n_steps=10 if machine.cuda else 1,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def _strategy(recipe: Recipe, phase: Phase, machine: Machine) -> run.Config:
    return run.Config(
        PhaseStrategy,
        tensor_model_parallel_size=phase.tensor_parallel,
        pipeline_model_parallel_size=phase.pipeline_parallel,
        context_parallel_size=phase.context_parallel,
        sequence_parallel=phase.tensor_parallel > 1,
        pipeline_dtype=_dtype(recipe.precision) if phase.pipeline_parallel > 1 else None,
        ddp=_gradient_reduction(recipe, machine),
        process_group_backend="nccl" if machine.cuda else "gloo",
        ckpt_async_save=False,  # a checkpoint is whole when training goes on
        ckpt_parallel_load=True,
        # On a CPU the optimizer may be resumed under any layout. On GPUs that would gather 12 bytes per parameter into
        # the memory of every rank at every save, so there it may be resumed under another data-parallel size only.
        ckpt_optim_fully_reshardable=not machine.cuda,
        replace_progress_bar=False,
    )


def _gradient_reduction(recipe: Recipe, machine: Machine) -> run.Config:
    """As in NeMo's recipe on GPUs; gloo has no averaging reduction, and overlap costs threads that a CPU has not."""
    return run.Config(
        DistributedDataParallelConfig,
        check_for_nan_in_grad=True,
        grad_reduce_in_fp32=recipe.gradient_reduction == "fp32",
        use_distributed_optimizer=True,
        overlap_grad_reduce=machine.cuda,
        overlap_param_gather=machine.cuda,
        average_in_collective=machine.cuda,
    )


def _precision(recipe: Recipe) -> run.Config:
    dtype = _dtype(recipe.precision)
    return run.Config(
        nl.MegatronMixedPrecision,
        precision=recipe.precision,
        params_dtype=dtype,
        pipeline_dtype=dtype,
        autocast_enabled=False,
        grad_reduce_in_fp32=recipe.gradient_reduction == "fp32",
    )


def _dtype(precision: str) -> torch.dtype:
    return torch.bfloat16 if precision == "bf16-mixed" else torch.float32


def _optimizer(recipe: Recipe, number: int) -> run.Config:
    adam, curve = recipe.optimizer, phase_curve(recipe, number)
    return run.Config(
        PhaseOptimizer,
        config=run.Config(
            OptimizerConfig,
            optimizer="adam",
            lr=curve.max_lr,
            weight_decay=adam.weight_decay,
            adam_beta1=adam.adam_beta1,
            adam_beta2=adam.adam_beta2,
            adam_eps=adam.adam_eps,
            clip_grad=adam.clip_grad,
            bf16=recipe.precision == "bf16-mixed",
            params_dtype=_dtype(recipe.precision),
            use_distributed_optimizer=True,
        ),
        lr_scheduler=run.Config(PhaseSchedule, **curve._asdict()),
    )


def _log(recipe: Recipe, number: int, folder: RunFolder) -> run.Config:
    checkpoint: dict[str, Any] = {
        "folder": folder.checkpoints(number),
        "every_iterations": recipe.checkpoint.every_iterations,
        "iterations": recipe.phase(number).iterations,
    }
    board = run.Config(TensorBoardLogger, save_dir=str(folder.training), name="tensorboard", version=f"phase_{number}")
    return run.Config(
        nl.NeMoLogger,
        explicit_log_dir=str(folder.training / "logs" / f"nemo_phase_{number}"),
        log_global_rank_0_only=True,
        update_logger_directory=False,
        tensorboard=board,
        ckpt=run.Config(PhaseCheckpoint, **checkpoint),
    )
