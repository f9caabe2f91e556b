"""Running a model that does not fit into memory: a module has its parameters only while it computes."""

import contextlib
from collections.abc import Callable, Collection, Iterator
from functools import partial
from typing import Any, NamedTuple

from torch import Tensor, nn

Read = Callable[[str], Tensor]


class _Place(NamedTuple):
    """Where one parameter belongs: the attribute of a module, and what stands there without memory."""

    module: nn.Module
    attribute: str
    name: str
    empty: nn.Parameter

    def fill(self, tensor: Tensor) -> None:
        assert tensor.shape == self.empty.shape, f"{self.name}: {list(tensor.shape)}, not {list(self.empty.shape)}"
        setattr(self.module, self.attribute, nn.Parameter(tensor, self.empty.requires_grad))

    def clear(self) -> None:
        setattr(self.module, self.attribute, self.empty)


@contextlib.contextmanager
def streamed(model: nn.Module, read: Read, keep: Collection[str] = ()) -> Iterator[None]:
    """Within the block, every forward pass reads each parameter just before its module runs, and frees it just after.

    So a pass reads all weights once and holds one matrix at a time. The model's own code runs unchanged.

    Args:
        model: with its parameters on the meta device and its buffers in memory.
        read: gives a parameter by its name in `model.named_parameters()`, of any dtype; it is computed with in fp32.
        keep: names of parameters that are read once and stay until the block ends: those that several modules use.
    """
    places = _places(model)
    handles = []
    try:
        for place in (place for place in places if place.name not in keep):
            handles += [
                place.module.register_forward_pre_hook(partial(_read, place, read)),
                place.module.register_forward_hook(partial(_free, place)),
            ]
        for name in keep:
            tensor = read(name).float()
            for place in (place for place in places if place.name == name):
                place.fill(tensor)
        yield
    finally:
        for handle in handles:
            handle.remove()
        for place in places:
            place.clear()


def _places(model: nn.Module) -> list[_Place]:
    """Every parameter at every module that holds it; a shared one has the name of the first."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return [
        _Place(module, attribute, names[id(parameter)], parameter)
        for module in model.modules()
        for attribute, parameter in module.named_parameters(recurse=False)
    ]


def _read(place: _Place, read: Read, *call: Any) -> None:
    place.fill(read(place.name).float())


def _free(place: _Place, *call: Any) -> None:
    place.clear()
