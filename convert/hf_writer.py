"""Writing a Hugging Face model folder: weights tensor by tensor, config, tokenizer files.

Names, shards and index are those of `save_pretrained`. A safetensors file is 8 bytes of header length, a JSON header,
and the tensors' bytes (https://github.com/huggingface/safetensors, "Format").
"""

import json
import shutil
from collections.abc import Iterable, Iterator
from itertools import islice
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from convert.checks import tensor_bytes
from convert.hf_folder import INDEX, SINGLE
from convert.mapping import Size
from convert.shard_files import NAMES
from recipes.artifacts import read_fields, write_json
from recipes.errors import UserError
from recipes.shape import Qwen3Shape

SHARD_BYTES = 5_000_000_000  # save_pretrained's default
# Of the first release with Qwen3, as its published configs state. Where a folder states none, 4.57 warns that Qwen3's
# tokenizer has a wrong pattern, which another family's had.
_VERSION = "4.51.0"
LICENCE_FILES = ("LICENSE*", "NOTICE*")
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
)


def write_weights(
    folder: Path,
    tensors: Iterable[tuple[str, Tensor]],
    sizes: dict[str, Size],
    dtype: torch.dtype,
    limit: int = SHARD_BYTES,
) -> None:
    """Write model.safetensors, or shards of at most `limit` bytes with their index.

    Args:
        tensors: (name, tensor of `dtype`) in the order of `sizes`; consumed one at a time.
    """
    shards, source = _shards(sizes, dtype.itemsize, limit), iter(tensors)
    names = (
        [SINGLE]
        if len(shards) == 1
        else [f"model-{n:05}-of-{len(shards):05}.safetensors" for n in range(1, len(shards) + 1)]
    )
    for file, shard in zip(names, shards, strict=True):
        _write_file(folder / file, source, {name: sizes[name] for name in shard}, dtype)
    if len(shards) > 1:
        total = sum(map(prod, sizes.values()))
        where = {name: file for file, shard in zip(names, shards, strict=True) for name in shard}
        write_json(
            folder / INDEX,
            {
                "metadata": {"total_parameters": total, "total_size": total * dtype.itemsize},
                "weight_map": dict(sorted(where.items())),
            },
        )


def _shards(sizes: dict[str, Size], item: int, limit: int) -> list[list[str]]:
    """Tensor names per file, filled greedily in order, as huggingface_hub.split_torch_state_dict_into_shards does."""
    shards: list[list[str]] = [[]]
    used = 0
    for name, size in sizes.items():
        length = prod(size) * item
        if shards[-1] and used + length > limit:
            shards.append([])
            used = 0
        shards[-1].append(name)
        used += length
    return shards


def _write_file(path: Path, source: Iterator[tuple[str, Tensor]], sizes: dict[str, Size], dtype: torch.dtype) -> None:
    """One file, byte for byte what safetensors' save_file writes: by name in the file, in any order from `source`."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name in sorted(sizes):
        start, end = end, end + prod(sizes[name]) * dtype.itemsize
        header[name] = {"dtype": NAMES[dtype], "shape": list(sizes[name]), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        data = stream.tell()
        for name, tensor in islice(source, len(sizes)):
            assert tensor.dtype == dtype
            stream.seek(data + header[name]["data_offsets"][0])
            stream.write(tensor_bytes(tensor))


def config_for(
    shape: Qwen3Shape, base: dict[str, Any] | None, dtype: torch.dtype, tokens: dict[str, int]
) -> dict[str, Any]:
    """config.json: the base's own with the dtype of the weights, or a new one for a model without a base."""
    if base is None:
        base = {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "attention_dropout": 0.0}
        base |= {"use_cache": True, **shape.model_dump(), "use_sliding_window": False, **tokens}
    stated = {"transformers_version": _VERSION, **{key: value for key, value in base.items() if key != "dtype"}}
    # transformers 4 reads rope_theta here, 5 from `rope_parameters` if that is there
    return {**stated, "rope_theta": shape.rope_theta, "torch_dtype": str(dtype).removeprefix("torch.")}


def copy_tokenizer(source: Path, target: Path) -> None:
    """Copy the tokenizer's files byte by byte.

    Raises:
        UserError: there is no tokenizer in `source`.
    """
    if not (source / "tokenizer.json").is_file() and not (source / "vocab.json").is_file():
        raise UserError(f"{source}: there is no tokenizer.json; give a folder with the model's tokenizer.")
    for name in TOKENIZER_FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)


def copy_licence(source: Path, target: Path) -> None:
    """Copy licence and notice of the base: who hands weights on has to hand these on (Apache-2.0, section 4)."""
    for path in (path for pattern in LICENCE_FILES for path in source.glob(pattern) if path.is_file()):
        shutil.copyfile(path, target / path.name)


def special_tokens(tokenizer: Path, vocab_size: int) -> dict[str, int]:
    """`eos_token_id` and the like, where the tokenizer's own files name such a token.

    Raises:
        UserError: it has ids that the model has no embedding for, or a file of it is damaged.
    """
    stated, content = _fields(tokenizer / "tokenizer_config.json"), _fields(tokenizer / "tokenizer.json")
    ids = _added_tokens(content)
    if max([*_vocabulary(content), *ids.values()], default=0) >= vocab_size:
        raise UserError(
            f"{tokenizer / 'tokenizer.json'}: it has tokens beyond the model's {vocab_size:,}; give the model's own "
            f"tokenizer."
        )
    tokens = {}
    for role in ("bos", "eos", "pad"):
        token = stated.get(f"{role}_token")
        text = token.get("content") if isinstance(token, dict) else token
        if isinstance(text, str) and text in ids:
            tokens[f"{role}_token_id"] = ids[text]
    return tokens


def _vocabulary(content: dict[str, Any]) -> list[int]:
    """The ids of the ordinary tokens."""
    model = content.get("model")
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    return [each for each in vocabulary.values() if isinstance(each, int)] if isinstance(vocabulary, dict) else []


def _added_tokens(content: dict[str, Any]) -> dict[str, int]:
    """Text -> id of the added tokens."""
    listed = content.get("added_tokens")
    tokens = [token for token in listed if isinstance(token, dict)] if isinstance(listed, list) else []
    pairs = [(token.get("content"), token.get("id")) for token in tokens]
    return {text: number for text, number in pairs if isinstance(text, str) and isinstance(number, int)}


def _fields(path: Path) -> dict[str, Any]:
    """A JSON file's fields; none where there is no such file."""
    return read_fields(path) if path.is_file() else {}
