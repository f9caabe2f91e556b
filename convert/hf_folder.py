"""Reading a Hugging Face model folder: config.json and weights, single or sharded. Pickled ones need to be allowed."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from convert.checks import check_tensor
from convert.mapping import Slot, hf_sizes
from convert.shard_files import DTYPES, PickledFile, SafetensorsFile, ShardFile
from recipes.artifacts import read_json
from recipes.errors import UserError
from recipes.shape import Qwen3Shape

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLED_SINGLE, PICKLED_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"
EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"


class HfFolder:
    """The weights of a dense Qwen3 model on disk; tensors are read one at a time.

    Args:
        allow_pickle: read pytorch_model*.bin where there is no safetensors file.

    Raises:
        UserError: the folder, config.json or weights are missing, damaged, contradictory or of another model.
    """

    iteration = None

    def __init__(self, root: Path, allow_pickle: bool = False) -> None:
        self.root = root
        self.config = read_config(root)
        self.shape = shape_of(root / "config.json", self.config)
        self.sizes = hf_sizes(self.shape)
        self._files = _locate(root, allow_pickle)
        self._refuse_unknown()

    @property
    def place(self) -> str:
        return str(self.root)

    @property
    def folders(self) -> tuple[Path, ...]:
        return (self.root,)

    def parts(self, slot: Slot) -> dict[str, Tensor]:
        """The slot's tensors by name."""
        return {name: self.tensor(name) for name in slot.hf}

    def tensor(self, name: str) -> Tensor:
        """One tensor, checked: its size is the config's, it is finite and not all zero."""
        tensor = self._files[name].tensor(name)
        check_tensor(self.place, name, tensor, self.sizes[name])
        return tensor

    @property
    def dtypes(self) -> frozenset[torch.dtype]:
        """The one dtype of all weights, as a set."""
        return frozenset({self.dtype})

    @cached_property
    def dtype(self) -> torch.dtype:
        """The one dtype of all weights."""
        found = sorted({self._files[name].entries[name].dtype for name in self.sizes})
        if len(found) > 1 or found[0] not in DTYPES:
            raise UserError(
                f"{self.root}: expected one dtype of {list(DTYPES)}, found {found}; convert the tensors first."
            )
        return DTYPES[found[0]]

    def _refuse_unknown(self) -> None:
        missing = [name for name in self.sizes if name not in self._files]
        if missing:
            raise UserError(f"{self.root}: {missing[0]}, which config.json asks for, is absent; fetch the model again.")
        unknown = [name for name in self._files if name not in self.sizes and name != HEAD]
        if unknown:
            raise UserError(f"{self.root}: a dense Qwen3 has no tensor {unknown[0]}; give another model.")
        for name, size in self.sizes.items():
            found = self._files[name].entries[name].size
            if found != size:
                raise UserError(
                    f"{self._files[name].path}: {name} is {list(found)}, config.json asks for {list(size)}; "
                    f"give weights and config of one model."
                )
        if self.shape.tie_word_embeddings and HEAD in self._files and not self._head_is_tied():
            raise UserError(
                f"{self.root}: config.json ties the embeddings, but {HEAD} differs from {EMBEDDING}; "
                f"remove the tensor or set tie_word_embeddings to false."
            )

    def _head_is_tied(self) -> bool:
        return torch.equal(self._files[HEAD].tensor(HEAD), self._files[EMBEDDING].tensor(EMBEDDING))


def _locate(root: Path, allow_pickle: bool) -> Mapping[str, ShardFile]:
    """Which file holds which tensor, as the index says or as the only file has it."""
    if (root / INDEX).is_file() and (root / SINGLE).is_file():
        raise UserError(f"{root}: there are {SINGLE} and {INDEX}, and loaders differ in which they take; remove one.")
    if (root / INDEX).is_file():
        return _from_index(root / INDEX, SafetensorsFile)
    if (root / SINGLE).is_file():
        file = SafetensorsFile(root / SINGLE)
        return dict.fromkeys(file.entries, file)
    if allow_pickle and (root / PICKLED_INDEX).is_file():
        return _from_index(root / PICKLED_INDEX, PickledFile)
    if allow_pickle and (root / PICKLED_SINGLE).is_file():
        pickled = PickledFile(root / PICKLED_SINGLE)
        return dict.fromkeys(pickled.entries, pickled)
    raise UserError(f"{root}: {_what_instead(root)}.")


def _from_index(index: Path, kind: type[SafetensorsFile] | type[PickledFile]) -> Mapping[str, ShardFile]:
    weight_map = read_json(index)
    weight_map = weight_map.get("weight_map") if isinstance(weight_map, dict) else None
    if not isinstance(weight_map, dict) or not all(isinstance(file, str) for file in weight_map.values()):
        raise UserError(f"{index}: expected a `weight_map` from tensor to file; fetch the file again.")
    # All shards lie beside the index; taking the bare name keeps a forged path from leading elsewhere.
    files = {name: kind(index.parent / name) for name in sorted({Path(file).name for file in weight_map.values()})}
    for name, file in weight_map.items():
        holders = [each for each in files if name in files[each].entries]
        if Path(file).name not in holders:
            raise UserError(
                f"{index.parent / file}: {index.name} says that {name} is in it, but it is not; fetch the model again."
            )
        if len(holders) > 1:  # loaders read every tensor of every file, whatever the index says
            raise UserError(f"{index.parent}: {name} is in {' and in '.join(holders)}; fetch the model again.")
    for file in files.values():
        for name in file.entries.keys() - weight_map.keys():
            raise UserError(f"{file.path}: {name} is in it, but not in {index.name}; fetch the model again.")
    return {name: files[Path(file).name] for name, file in weight_map.items()}


def _what_instead(root: Path) -> str:
    if list(root.glob("*.safetensors")):
        return f"there are safetensors shards but no {INDEX}; fetch it as well"
    if list(root.glob("*.bin")) or list(root.glob("*.pt*")):
        return (
            "there are only pickled weights, which can run code; save the model as safetensors, or import it with "
            "--allow-pickle if you trust it"
        )
    return f"there are no weights; expected {SINGLE} or {INDEX} with its shards"


def read_config(root: Path) -> dict[str, Any]:
    """The config.json of a model folder.

    Raises:
        UserError: no folder, no config.json, or another architecture than dense Qwen3.
    """
    if not root.is_dir():
        raise UserError(f"{root}: there is no such model folder; give the folder of a Hugging Face Qwen3 model.")
    config = read_json(root / "config.json")
    kind = config.get("model_type") if isinstance(config, dict) else None
    if kind != "qwen3":
        raise UserError(
            f"{root / 'config.json'}: expected model_type qwen3, found {kind!r}; only dense Qwen3 models are converted."
        )
    return dict(config)


def shape_of(place: Path, config: dict[str, Any]) -> Qwen3Shape:
    """The shape a config.json states.

    Raises:
        UserError: a field is missing or impossible, or asks for what the training engine does not compute.
    """
    rope = config.get("rope_scaling") or config.get("rope_parameters") or {}
    if not isinstance(rope, dict) or rope.get("rope_type", rope.get("type", "default")) != "default":
        raise UserError(f"{place}: rope scaling is not supported; give the model without it.")
    if config.get("use_sliding_window"):
        raise UserError(f"{place}: use_sliding_window is not supported; set it to false if the model was trained so.")
    try:
        return Qwen3Shape.from_hf(config)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "shape"
        raise UserError(f"{place}: {field}: {first['msg']}; give a whole Qwen3 config.") from error
