"""A phase of a recipe as NeMo objects, put together as `nemo.collections.llm.recipes.qwen3_1p7b` does."""

import os
from pathlib import Path
from typing import Any

import nemo_run as run
import torch
from lightning.fabric.plugins.environments import TorchElasticEnvironment
from lightning.pytorch.loggers import TensorBoardLogger
from megatron.core.distributed import DistributedDataParallelConfig
from megatron.core.optimizer import OptimizerConfig
from nemo import lightning as nl
from nemo.collections import llm
from nemo.collections.llm.gpt.model.qwen3 import Qwen3Model
from nemo.lightning.pytorch.optim import CosineAnnealingScheduler, MegatronOptimizerModule, WarmupPolicyScheduler

from recipes.blend import Blend
from recipes.checkpoints import Start
from recipes.engine.checkpoint import PhaseCheckpoint, auto_resume
from recipes.engine.data_module import PhaseData
from recipes.engine.model import model_fields
from recipes.engine.platform import has_cuda
from recipes.engine.strategy import PhaseStrategy
from recipes.engine.vocabulary import PaddedQwen3Config
from recipes.layout import RunFolder
from recipes.schema import Phase, Recipe


def pretraining(recipe: Recipe, number: int, folder: RunFolder, blend: Blend, start: Start) -> run.Partial:
    """The whole job of phase `number`; `fiddle.build(pretraining(…))()` trains it. Every part can be changed."""
    phase = recipe.phase(number)
    return run.Partial(
        llm.pretrain,
        model=run.Config(Qwen3Model, config=_model(recipe, phase)),
        data=_data(phase, folder.phase(number), blend),
        trainer=_trainer(recipe, phase),
        log=_log(recipe, number, folder),
        resume=auto_resume(start),
        optim=_optimizer(recipe, phase),
    )


def _model(recipe: Recipe, phase: Phase) -> run.Config:
    return run.Config(PaddedQwen3Config, **model_fields(recipe.model.shape, phase.sequence_length, recipe.precision))


def _data(phase: Phase, folder: Path, blend: Blend) -> run.Config:
    return run.Config(
        PhaseData,
        folder=folder,
        blend=blend,
        micro_batch_size=phase.micro_batch_size,
        num_workers=2 if has_cuda() else 0,
    )


def _trainer(recipe: Recipe, phase: Phase) -> run.Config:
    local_ranks = int(os.environ["LOCAL_WORLD_SIZE"])
    return run.Config(
        nl.Trainer,
        accelerator="gpu" if has_cuda() else "cpu",
        devices=local_ranks,
        num_nodes=int(os.environ["WORLD_SIZE"]) // local_ranks,
        max_steps=phase.iterations,  # NeMo copies it into the learning-rate schedule
        strategy=_strategy(recipe, phase),
        # torchrun's variables are set under srun too (launch/environment.py); Lightning would else ask Slurm itself
        plugins=[_precision(recipe.precision), run.Config(TorchElasticEnvironment)],
        limit_val_batches=0,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,  # Megatron's sampler shares the samples out
        log_every_n_steps=10 if has_cuda() else 1,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def _strategy(recipe: Recipe, phase: Phase) -> run.Config:
    return run.Config(
        PhaseStrategy,
        tensor_model_parallel_size=phase.tensor_parallel,
        pipeline_model_parallel_size=phase.pipeline_parallel,
        context_parallel_size=phase.context_parallel,
        sequence_parallel=phase.tensor_parallel > 1,
        pipeline_dtype=_dtype(recipe.precision) if phase.pipeline_parallel > 1 else None,
        ddp=_gradient_reduction(),
        process_group_backend="nccl" if has_cuda() else "gloo",
        ckpt_async_save=False,  # a checkpoint is whole when training goes on
        ckpt_parallel_load=True,
        # On a CPU the optimizer may be resumed under any layout. On GPUs that would gather 12 bytes per parameter into
        # the memory of every rank at every save, so there it may be resumed under another data-parallel size only.
        ckpt_optim_fully_reshardable=not has_cuda(),
        replace_progress_bar=False,
    )


def _gradient_reduction() -> run.Config:
    """As in NeMo's recipe on GPUs; gloo has no averaging reduction, and overlap costs threads that a CPU has not."""
    return run.Config(
        DistributedDataParallelConfig,
        check_for_nan_in_grad=True,
        grad_reduce_in_fp32=True,
        use_distributed_optimizer=True,
        overlap_grad_reduce=has_cuda(),
        overlap_param_gather=has_cuda(),
        average_in_collective=has_cuda(),
    )


def _precision(precision: str) -> run.Config:
    dtype = _dtype(precision)
    return run.Config(
        nl.MegatronMixedPrecision,
        precision=precision,
        params_dtype=dtype,
        pipeline_dtype=dtype,
        autocast_enabled=False,
        grad_reduce_in_fp32=True,
    )


def _dtype(precision: str) -> torch.dtype:
    return torch.bfloat16 if precision == "bf16-mixed" else torch.float32


def _optimizer(recipe: Recipe, phase: Phase) -> run.Config:
    adam, schedule = recipe.optimizer, phase.schedule
    return run.Config(
        MegatronOptimizerModule,
        config=run.Config(
            OptimizerConfig,
            optimizer="adam",
            lr=schedule.max_lr,
            weight_decay=adam.weight_decay,
            adam_beta1=adam.adam_beta1,
            adam_beta2=adam.adam_beta2,
            adam_eps=adam.adam_eps,
            clip_grad=adam.clip_grad,
            bf16=recipe.precision == "bf16-mixed",
            params_dtype=_dtype(recipe.precision),
            use_distributed_optimizer=True,
        ),
        lr_scheduler=_schedule(phase),
    )


def _schedule(phase: Phase) -> run.Config:
    warmup, low = phase.warmup_iterations, phase.schedule.min_lr
    if phase.schedule.kind == "constant":
        return run.Config(WarmupPolicyScheduler, warmup_steps=warmup, max_steps=phase.iterations, min_lr=low)
    return run.Config(
        CosineAnnealingScheduler, warmup_steps=warmup, max_steps=phase.iterations, constant_steps=0, min_lr=low
    )


def _log(recipe: Recipe, number: int, folder: RunFolder) -> run.Config:
    policy = recipe.checkpoint
    checkpoint: dict[str, Any] = {
        "folder": folder.checkpoints(number),
        "every_iterations": policy.every_iterations,
        "keep_last": policy.keep_last,
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
