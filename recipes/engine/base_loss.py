"""What a Hugging Face model loses on fixed tokens, run by `transformers`:  python -m recipes.engine.base_loss FOLDER

Prints the number. A process of its own, because what lets NeMo run on a CPU changes torch; it needs no GPU, reads every
matrix once, and holds one at a time beside the embedding.
"""

import json
import sys
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from recipes.engine.empty_model import empty_model
from recipes.engine.streamed import Read, streamed
from recipes.errors import UserError
from recipes.processes import module_output
from recipes.terminal import run_command

_HALF = 32
_EMBEDDING = "model.embed_tokens.weight"


def fixed_tokens(vocab_size: int) -> Tensor:
    """Token ids [1, 65]: 32 random ones, twice, and the first once more; the same for every model of this vocabulary.

    A trained model predicts the second half from the first, if its positions and its attention are right.
    """
    half = torch.randint(vocab_size, (1, _HALF), generator=torch.Generator().manual_seed(0))
    return torch.cat([half, half, half[:, :1]], dim=1)


def base_loss(folder: Path) -> float:
    """The mean loss of the model in `folder` on `fixed_tokens`, in fp32, computed in a process of its own.

    Raises:
        UserError: the model cannot be read.
    """
    try:
        *_, answer = module_output("recipes.engine.base_loss", str(folder), CUDA_VISIBLE_DEVICES="")
    except UserError as error:
        raise UserError(f"{folder}: its loss cannot be computed ({error}); give a whole model.") from error
    return float(answer)


def loss_of(folder: Path, read: Read | None = None) -> float:
    """The same, computed here; `read` gives a tensor by its name, by default from the safetensors files in `folder`."""
    model = empty_model(folder)
    tokens = fixed_tokens(model.config.vocab_size)
    with torch.no_grad(), streamed(model, read or partial(_read, _files(folder)), [_EMBEDDING]):
        logits = model(tokens[:, :-1], use_cache=False).logits
    return torch.nn.functional.cross_entropy(logits[0], tokens[0, 1:]).item()


def _files(folder: Path) -> dict[str, Path]:
    """Tensor name -> the safetensors file that holds it."""
    from safetensors import safe_open

    files: dict[str, Path] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as stream:
            files |= dict.fromkeys(stream.keys(), path)
    return files


def _read(files: dict[str, Path], name: str) -> Tensor:
    from safetensors import safe_open

    if name not in files:
        raise UserError(f"there is no tensor {name} in its safetensors files")
    with safe_open(files[name], framework="pt") as stream:
        return stream.get_tensor(name)


def _main() -> None:
    print(json.dumps(loss_of(Path(sys.argv[1]))))


if __name__ == "__main__":
    run_command(_main)
