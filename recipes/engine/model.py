"""The NeMo and Megatron-Core configuration of a Qwen3 model, from its shape."""

from typing import Any

import torch
from megatron.core.models.gpt import GPTModel

from recipes.engine.platform import has_cuda, has_transformer_engine
from recipes.engine.vocabulary import VOCABULARY_MULTIPLE, PaddedQwen3Config, padded_vocab_size
from recipes.shape import Qwen3Shape


def model_fields(shape: Qwen3Shape, sequence_length: int, precision: str = "32") -> dict[str, Any]:
    """The arguments of `PaddedQwen3Config` (NeMo's `Qwen3Config`) for this shape, on this machine."""
    machine = machine_fields(has_cuda(), has_transformer_engine())
    return {**shape_fields(shape, sequence_length, precision), **machine}


def shape_fields(shape: Qwen3Shape, sequence_length: int, precision: str) -> dict[str, Any]:
    """Those that do not depend on the machine.

    `precision` is "bf16-mixed" (weights bf16, master weights and gradient sums fp32) or "32".
    """
    dtype = torch.bfloat16 if precision == "bf16-mixed" else torch.float32
    return {
        "num_layers": shape.num_hidden_layers,
        "hidden_size": shape.hidden_size,
        "ffn_hidden_size": shape.intermediate_size,
        "num_attention_heads": shape.num_attention_heads,
        "num_query_groups": shape.num_key_value_heads,
        "kv_channels": shape.head_dim,
        "vocab_size": padded_vocab_size(shape.vocab_size),
        "real_vocab_size": shape.vocab_size,
        "make_vocab_size_divisible_by": VOCABULARY_MULTIPLE,
        "share_embeddings_and_output_weights": shape.tie_word_embeddings,
        "max_position_embeddings": shape.max_position_embeddings,
        "rotary_base": shape.rope_theta,
        "layernorm_epsilon": shape.rms_norm_eps,
        "init_method_std": shape.initializer_range,
        "seq_length": sequence_length,
        "params_dtype": dtype,
        "bf16": dtype is torch.bfloat16,
    }


def machine_fields(cuda: bool, transformer_engine: bool) -> dict[str, Any]:
    """Those that make up for what a machine lacks."""
    return {
        **({} if cuda else {"use_cpu_initialization": True}),
        **({} if transformer_engine else _without_transformer_engine(cuda)),
    }


def build_model(shape: Qwen3Shape) -> GPTModel:
    """A bare Megatron-Core model in this one process, fp32, without Lightning, its parameters on the meta device: for
    `recipes.engine.streamed`, which lends them memory.

    Call `recipes.engine.platform.prepare` before importing this module. Starts a one-rank process group if none runs.
    `model(input_ids, position_ids, attention_mask=None)` gives logits [batch, sequence, padded vocabulary],
    minus infinity in the padding.
    """
    _one_rank()
    fields = model_fields(shape, shape.max_position_embeddings)
    config = PaddedQwen3Config(**fields, init_model_with_meta_device=True)
    return config.configure_model(tokenizer=None, pre_process=True, post_process=True)


def _one_rank() -> None:
    from megatron.core import parallel_state
    from megatron.core.tensor_parallel.random import model_parallel_cuda_manual_seed

    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group(
            "nccl" if has_cuda() else "gloo", store=torch.distributed.HashStore(), rank=0, world_size=1
        )
    if not parallel_state.model_parallel_is_initialized():
        parallel_state.initialize_model_parallel(create_gloo_process_groups=False)
        model_parallel_cuda_manual_seed(1234)


def _without_transformer_engine(cuda: bool) -> dict[str, Any]:
    """Attention and norms are ours. Fusions that need compiled kernels of Apex or Transformer Engine are off; on GPUs,
    SwiGLU is Megatron-Core's own, which torch compiles, and rotary embedding `recipes.engine.fused`.
    """
    from recipes.engine.layers import plain_block_spec, plain_forward_step

    return {
        "transformer_layer_spec": plain_block_spec,
        "forward_step_fn": plain_forward_step,
        "gradient_accumulation_fusion": False,
        "masked_softmax_fusion": False,
        "bias_activation_fusion": cuda,
        "bias_dropout_fusion": False,
        "apply_rope_fusion": cuda,
        "persist_layer_norm": False,
        "cross_entropy_loss_fusion": False,
    }
