"""The NeMo configuration of a phase as text, and its difference from NeMo's own recipe for the same model.

Rendered for a cluster: GPUs with CUDA and Transformer Engine, or the CPUs that this machine has too. Nothing is built.
"""

import difflib
import importlib
import inspect
from pathlib import Path
from typing import Any

import fiddle
import torch
import yaml
from pydantic import BaseModel

from recipes.blend import Blend
from recipes.checkpoints import NAME, Start
from recipes.cluster import Cluster
from recipes.engine.build import Machine, pretraining
from recipes.errors import UserError
from recipes.layout import RunFolder
from recipes.schema import Recipe

_STOCK = {  # layers, hidden size -> nemo.collections.llm.recipes
    (28, 1024): "qwen3_600m",
    (28, 2048): "qwen3_1p7b",
    (36, 2560): "qwen3_4b",
    (36, 4096): "qwen3_8b",
    (40, 5120): "qwen3_14b",
    (64, 5120): "qwen3_32b",
}


def configuration(recipe: Recipe, number: int, cluster: Cluster) -> fiddle.Partial:
    """The configuration that phase `number` is trained with on `cluster`, in `runs/<recipe>`; needs no data."""
    run = RunFolder(Path("runs", recipe.name))
    on_gpus = cluster.gpus_per_node > 0
    machine = Machine(on_gpus, on_gpus, cluster.nodes, cluster.ranks_per_node)
    return pretraining(recipe, number, run, _blend(recipe, number), _start(recipe, number, run), machine)


def stock_configuration(recipe: Recipe) -> tuple[str, fiddle.Partial]:
    """Name and content of `pretrain_recipe` of NeMo's module for this model.

    Raises:
        UserError: NeMo has none.
    """
    shape = recipe.model.shape
    name = _STOCK.get((shape.num_hidden_layers, shape.hidden_size))
    if name is None:
        raise UserError(
            f"recipe {recipe.name}: NeMo has no recipe for {shape.num_hidden_layers} layers of {shape.hidden_size}; "
            f"leave out --diff."
        )
    return name, importlib.import_module(f"nemo.collections.llm.recipes.{name}").pretrain_recipe()


def tree(config: Any, beside: Any = None) -> Any:
    """A configuration as nested mappings of plain values: what is set, `_target_` the class or function it is for.

    With `beside`, also the defaults of what is set there at the same place, so that two trees differ where the values
    do.
    """
    if isinstance(config, fiddle.Buildable):
        target, given = fiddle.get_callable(config), dict(config.__arguments__)
        other = dict(beside.__arguments__) if isinstance(beside, fiddle.Buildable) else {}
        defaults = _defaults(target) if other.keys() - given.keys() else {}
        values = {name: defaults[name] for name in other if name in defaults} | given
        return {"_target_": _dotted(target)} | {name: tree(value, other.get(name)) for name, value in values.items()}
    if isinstance(config, list):
        others = beside if isinstance(beside, list) else []
        return [tree(one, others[at] if at < len(others) else None) for at, one in enumerate(config)]
    if isinstance(config, BaseModel):  # the blend: what it says is data
        return {"_target_": _dotted(type(config))}
    if callable(config):
        return _dotted(config)
    return str(config) if isinstance(config, Path | torch.dtype) else config


def text(content: Any) -> str:
    """A tree as YAML with sorted keys."""
    return yaml.safe_dump(content, width=120)


def difference(config: fiddle.Partial, name: str, stock: fiddle.Partial) -> str:
    """Unified diff from NeMo's recipe to ours, of the values that one of them sets."""
    before, after = text(tree(stock, config)), text(tree(config, stock))
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), f"nemo {name}", "here", lineterm="", n=2)
    return "\n".join(lines) + "\n"


def _defaults(target: Any) -> dict[str, Any]:
    parameters = inspect.signature(target).parameters.values()
    return {one.name: one.default for one in parameters if one.default is not inspect.Parameter.empty}


def _dotted(what: Any) -> str:
    return f"{what.__module__}.{what.__qualname__}"


def _blend(recipe: Recipe, number: int) -> Blend:
    """In the place of the phase's own, which needs a corpus."""
    phase = recipe.phase(number)
    return Blend(
        prefixes=list(phase.mixture),
        sequence_length=phase.sequence_length,
        global_batch_size=phase.global_batch_size,
        iterations=phase.iterations,
        packing=phase.packing,
        seed=recipe.seed,
        separator_id=0,
        vocab_size=recipe.model.shape.vocab_size,
        digest="",
    )


def _start(recipe: Recipe, number: int, run: RunFolder) -> Start:
    """Where a phase starts once those before it are trained."""
    if number > 1:
        last = NAME.format(recipe.phase(number - 1).iterations)
        return Start(run.checkpoints(number - 1) / last, optimizer=recipe.phase(number).optimizer_state == "carry")
    return Start(None if recipe.model.init == "random" else run.base_checkpoint)
