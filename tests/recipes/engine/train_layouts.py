"""`train_forked.py` with more for a job to name as its "fault": layouts that no recipe asks for, and planted mistakes.

The answer to a job says what was built: {"error": what ended it, or null, "sequence_parallel": true or false,
"optimizers": names of classes}.
"""

import importlib
import json
import math
import sys
from collections.abc import Callable
from typing import Any

import train_forked


def without_sequence_parallel() -> None:
    _change_part("_strategy", lambda strategy: setattr(strategy, "sequence_parallel", False))


def without_distributed_optimizer() -> None:
    _change_part("_gradient_reduction", lambda ddp: setattr(ddp, "use_distributed_optimizer", False))
    _change_part("_optimizer", lambda optimizer: setattr(optimizer.config, "use_distributed_optimizer", False))


def _change_part(name: str, change: Callable[[Any], None]) -> None:
    """Change what a function of `recipes.engine.build` returns."""
    from recipes.engine import build

    original = getattr(build, name)

    def changed(*arguments: Any) -> Any:
        part = original(*arguments)
        change(part)
        return part

    setattr(build, name, changed)


def qk_norms_not_reduced() -> None:
    """Every tensor-parallel rank keeps the gradients of query and key norms that its own heads gave."""
    module = importlib.import_module("megatron.core.distributed.finalize_model_grads")
    original = module._allreduce_non_tensor_model_parallel_grads

    def reduce(model: Any, *others: Any) -> None:
        named = [pair for chunk in model for pair in chunk.named_parameters()]
        kept = [weight.main_grad for name, weight in named if "q_layernorm" in name or "k_layernorm" in name]
        own = [gradient.clone() for gradient in kept]
        original(model, *others)
        for gradient, mine in zip(kept, own, strict=True):
            gradient.copy_(mine)

    module._allreduce_non_tensor_model_parallel_grads = reduce


def norms_not_marked() -> None:
    """Under sequence parallelism every rank keeps the gradients of hidden norms that its part of the tokens gave."""
    _mark_norms("sequence_parallel", False)


def norms_counted_twice() -> None:
    """The gradient norm takes the norms, of which every tensor-parallel rank has a copy, for parts of something."""
    _mark_norms("tensor_model_parallel", True)


def _mark_norms(attribute: str, value: bool) -> None:
    from recipes.engine.layers import RMSNorm

    original = RMSNorm.__init__

    def init(self: RMSNorm, *arguments: Any, **named: Any) -> None:
        original(self, *arguments, **named)
        setattr(self.weight, attribute, value)

    RMSNorm.__init__ = init  # type: ignore[method-assign]


def embedding_counted_twice() -> None:
    """The gradient norm takes a tied embedding, of which first and last stage have a copy, for two matrices."""
    from megatron.core.optimizer import optimizer

    optimizer.param_is_not_shared = lambda weight: True


def _no_proof_of_the_base() -> None:
    """The warm start would refuse a base that was imported wrongly, before there is a curve."""
    from recipes.engine import train, warm_start

    train.expected_loss = lambda recipe, run: 0.0
    warm_start.TOLERANCE["32"] = math.inf


def _note_layout(seen: dict[str, Any]) -> None:
    """What was really built, into the answer."""
    from megatron.core.utils import get_model_config

    from recipes.engine.optimizer import PhaseOptimizer

    original = PhaseOptimizer.on_before_optimizer_step

    def noted(self: Any, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        config = get_model_config(trainer.strategy.megatron_parallel[0])
        seen["sequence_parallel"] = config.sequence_parallel
        seen["optimizers"] = [type(one).__name__ for one in optimizer.mcore_optimizer.chained_optimizers]
        original(self, trainer, pl_module, optimizer)

    PhaseOptimizer.on_before_optimizer_step = noted


def _watch(seen: dict[str, Any]) -> None:
    _no_proof_of_the_base()
    _note_layout(seen)


CHANGES = (
    without_sequence_parallel,
    without_distributed_optimizer,
    qk_norms_not_reduced,
    norms_not_marked,
    norms_counted_twice,
    embedding_counted_twice,
)

if __name__ == "__main__":
    for change in CHANGES:
        setattr(train_forked, change.__name__, change)
    train_forked._watch = _watch
    train_forked.main(json.loads(sys.argv[1]))
