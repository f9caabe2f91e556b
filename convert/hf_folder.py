"""Reading a Hugging Face model folder: config.json and safetensors, single or sharded. Pickled weights are refused."""

from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from torch import Tensor

from convert.checks import check_tensor
from convert.mapping import hf_sizes
from recipes.artifacts import read_json
from recipes.errors import UserError
from recipes.shape import Qwen3Shape

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
DTYPES = {"BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32}
EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"


class HfFolder:
    """A dense Qwen3 model on disk; tensors are read one at a time.

    Raises:
        UserError: the folder, config.json or safetensors are missing, damaged, contradictory or of another model.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.config = read_config(root)
        self.shape = shape_of(root / "config.json", self.config)
        self.sizes = hf_sizes(self.shape)
        self._files: dict[Path, Any] = {}
        self._places = self._locate()
        self._refuse_unknown()

    @cached_property
    def dtype(self) -> torch.dtype:
        """The one dtype of all weights."""
        found = sorted({self._open(self._places[name]).get_slice(name).get_dtype() for name in self.sizes})
        if len(found) > 1 or found[0] not in DTYPES:
            raise UserError(
                f"{self.root}: expected one dtype of {list(DTYPES)}, found {found}; convert the tensors first."
            )
        return DTYPES[found[0]]

    def tensor(self, name: str) -> Tensor:
        """One tensor, checked: its size is the config's, it is finite and not all zero."""
        tensor = self._read(name)
        check_tensor(str(self.root), name, tensor, self.sizes[name])
        return tensor

    def _read(self, name: str) -> Tensor:
        try:
            return self._open(self._places[name]).get_tensor(name)
        except SafetensorError as error:
            raise UserError(f"{self._places[name]}: {name} cannot be read ({error}); fetch the file again.") from error

    def _locate(self) -> dict[str, Path]:
        """Which file holds which tensor, as the index says or as the only file has it."""
        if (self.root / INDEX).is_file():
            named = self._from_index()
        elif (self.root / SINGLE).is_file():
            named = dict.fromkeys(self._open(self.root / SINGLE).keys(), self.root / SINGLE)
        else:
            raise UserError(f"{self.root}: {self._what_instead()}.")
        for name, path in named.items():
            if name not in self._open(path).keys():  # noqa: SIM118 (a file handle, not a mapping)
                raise UserError(f"{path}: {INDEX} says that {name} is in it, but it is not; fetch the model again.")
        return named

    def _from_index(self) -> dict[str, Path]:
        weight_map = read_json(self.root / INDEX)
        weight_map = weight_map.get("weight_map") if isinstance(weight_map, dict) else None
        if not isinstance(weight_map, dict) or not all(isinstance(file, str) for file in weight_map.values()):
            raise UserError(f"{self.root / INDEX}: expected a `weight_map` from tensor to file; fetch the file again.")
        return {name: self.root / Path(file).name for name, file in weight_map.items()}

    def _what_instead(self) -> str:
        if list(self.root.glob("*.safetensors")):
            return f"there are safetensors shards but no {INDEX}; fetch it as well"
        if list(self.root.glob("*.bin")) or list(self.root.glob("*.pt*")):
            return "there are only pickled weights, which can run code; save the model as safetensors first"
        return f"there are no weights; expected {SINGLE} or {INDEX} with its shards"

    def _open(self, path: Path) -> Any:
        if path not in self._files:
            if not path.is_file():
                raise UserError(f"{path}: the shard is missing; fetch the model again.")
            try:
                self._files[path] = safe_open(path, framework="pt")
            except (SafetensorError, OSError) as error:
                raise UserError(f"{path}: not a whole safetensors file ({error}); fetch it again.") from error
        return self._files[path]

    def _refuse_unknown(self) -> None:
        missing = [name for name in self.sizes if name not in self._places]
        if missing:
            raise UserError(f"{self.root}: {missing[0]}, which config.json asks for, is absent; fetch the model again.")
        unknown = [name for name in self._places if name not in self.sizes and name != HEAD]
        if unknown:
            raise UserError(f"{self.root}: a dense Qwen3 has no tensor {unknown[0]}; give another model.")
        if self.shape.tie_word_embeddings and HEAD in self._places and not self._head_is_tied():
            raise UserError(
                f"{self.root}: config.json ties the embeddings, but {HEAD} differs from {EMBEDDING}; "
                f"remove the tensor or set tie_word_embeddings to false."
            )

    def _head_is_tied(self) -> bool:
        return torch.equal(self._read(HEAD), self._read(EMBEDDING))


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
