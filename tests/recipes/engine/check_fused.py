"""Checks inside Megatron-Core that our fused parts are used and compute what its own do; ends with 0 if so.

A program of its own, because the CPU compatibility layer changes the torch of the process it is switched on in, which
torch's compiler does not put up with. So what it would compile runs as it is written.
"""

from typing import Any

import torch

from recipes.engine.platform import prepare
from recipes.load import load_recipe

SHAPE = load_recipe("qwen3_tiny").model.shape.model_copy(update={"vocab_size": 256})
SEQUENCE, BATCH = 24, 2


def main() -> None:
    torch.compile = _as_it_is  # Megatron-Core asks for it when it is imported
    prepare()
    from megatron.core import parallel_state
    from megatron.core.tensor_parallel.random import model_parallel_cuda_manual_seed

    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    parallel_state.initialize_model_parallel(create_gloo_process_groups=False)
    model_parallel_cuda_manual_seed(1)
    clipping()
    cross_entropy_to_the_last_bit()
    flags_of_a_gpu()


def _as_it_is(function: Any = None, **options: Any) -> Any:
    """torch.compile, without compiling."""
    return function or _as_it_is


def clipping() -> None:
    from megatron.core.optimizer import clip_grads

    parameters = [torch.nn.Parameter(torch.ones(3)), torch.nn.Parameter(torch.ones(2, 2))]
    for parameter in parameters:
        parameter.grad = torch.full_like(parameter, 2.0)
    assert clip_grads.l2_norm_impl.__module__ == "recipes.engine.fused"
    norm = clip_grads.get_grad_norm_fp32([parameter.grad for parameter in parameters])
    assert abs(norm - 28**0.5) < 1e-6, norm
    clip_grads.clip_grad_by_total_norm_fp32(parameters, 1.0, norm)
    assert abs(sum(parameter.grad.pow(2).sum().item() for parameter in parameters) - 1) < 1e-5


def cross_entropy_to_the_last_bit() -> None:
    from megatron.core import parallel_state
    from megatron.core.tensor_parallel import vocab_parallel_cross_entropy

    from recipes.engine.cross_entropy import cross_entropy

    group = parallel_state.get_tensor_model_parallel_group()
    torch.manual_seed(0)
    logits, labels, weight = 5 * torch.randn(6, 2, 40), torch.randint(40, (6, 2)), torch.rand(6, 2)
    results = []
    for function in (vocab_parallel_cross_entropy, lambda *case: cross_entropy(*case, group)):
        case = logits.clone().requires_grad_()
        losses = function(case * 1.0, labels)  # both write into what they are given
        results.append([losses.detach(), *torch.autograd.grad((losses * weight).sum(), case)])
    for theirs, ours in zip(*results, strict=True):
        assert torch.equal(theirs, ours)


def flags_of_a_gpu() -> None:
    """Rotation and SwiGLU as on a GPU without Transformer Engine, and in bf16 our cross entropy, with equal weights."""
    plain, fused = _model("32", cuda=False), _model("32", cuda=True)
    assert fused.config.apply_rope_fusion and fused.config.bias_activation_fusion
    fused.load_state_dict(plain.state_dict())
    (loss, gradients), (ours, our_gradients) = _step(plain), _step(fused)
    assert abs(loss - ours) < 1e-6, (loss, ours)
    for name, gradient in gradients.items():
        torch.testing.assert_close(our_gradients[name], gradient, rtol=1e-4, atol=1e-7, msg=name)
    half = _model("bf16-mixed", cuda=True)
    assert half.compute_language_model_loss.func.__name__ == "_loss"
    half.load_state_dict(plain.state_dict())
    rounded, rounded_gradients = _step(half)
    assert abs(loss - rounded) < 0.02, (loss, rounded)
    for name, gradient in gradients.items():
        assert torch.cosine_similarity(rounded_gradients[name].flatten(), gradient.flatten(), dim=0) > 0.99, name


def _model(precision: str, cuda: bool) -> torch.nn.Module:
    from recipes.engine.chunked_loss import ChunkedQwen3Config
    from recipes.engine.model import machine_fields, shape_fields

    fields = {**machine_fields(cuda, transformer_engine=False), "use_cpu_initialization": True}
    config = ChunkedQwen3Config(**shape_fields(SHAPE, SEQUENCE, precision), **fields)
    return config.configure_model(tokenizer=None, pre_process=True, post_process=True)


def _step(model: torch.nn.Module) -> tuple[float, dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(3, 200, (BATCH, SEQUENCE), generator=generator)
    positions = torch.arange(SEQUENCE).expand_as(tokens)
    loss = model(input_ids=tokens, position_ids=positions, attention_mask=None, labels=tokens.roll(-1, 1)).mean()
    loss.backward()
    return loss.item(), {name: parameter.grad.float() for name, parameter in model.named_parameters()}


if __name__ == "__main__":
    main()
