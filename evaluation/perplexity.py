"""Perplexity and bits per byte of a Hugging Face causal language model.

The convention, stated in the report too: every document is scored by itself, behind one separator token, so that its
first token is predicted as well; a document longer than the window is cut into windows that do not overlap, each of
which sees the last token before it as its only context; the separator is never predicted. Weights and logits in fp32.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evaluation.heldout import Encoded
from recipes.artifacts import read_json
from recipes.errors import UserError

if TYPE_CHECKING:
    import torch

LOGITS_PER_BATCH = {"cpu": 2**23, "cuda": 2**28}  # fp32 values: 32 MiB, near the cache, and 1 GiB
IGNORED = -100  # torch's cross_entropy leaves this label out


def load_model(folder: Path, device: str) -> Any:
    """The causal language model in `folder`, fp32, in evaluation mode, from this disk alone.

    Raises:
        UserError: no folder, no config, no weights, weights that cannot be read, or weights that lack a tensor (which
            transformers would silently fill with random numbers).
    """
    check_folder(folder)
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    from recipes.engine.hf_config import hf_config

    try:
        model, loading = AutoModelForCausalLM.from_pretrained(
            folder, config=hf_config(folder), dtype=torch.float32, local_files_only=True, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        first = str(error).strip().split("\n")[0]
        raise UserError(f"{folder}: the model cannot be loaded ({first}).") from error
    missing = sorted(loading["missing_keys"])
    if missing or loading["mismatched_keys"]:
        names = missing or [name for name, *_ in loading["mismatched_keys"]]
        raise UserError(
            f"{folder}: the weights lack {len(names)} tensors of the model, {names[0]} for one; export it again."
        )
    return model.to(device).eval()


def check_folder(folder: Path) -> None:
    """Raise UserError if `folder` is no Hugging Face model folder."""
    if not folder.is_dir():
        raise UserError(f"{folder}: expected the folder of a Hugging Face model, there is none.")
    if not isinstance(read_json(folder / "config.json"), dict):
        raise UserError(f"{folder / 'config.json'}: expected a JSON object.")
    if not weight_files(folder):
        raise UserError(f"{folder}: expected weights (*.safetensors) beside config.json, found none; export it again.")


def weight_files(folder: Path) -> list[Path]:
    """The files that hold the weights, sorted by name."""
    return sorted(folder.glob("*.safetensors"))


def document_nll(
    model: Any, encoded: Encoded, sequence_length: int, advance: Callable[[int], None] = lambda tokens: None
) -> np.ndarray:
    """Negative log-likelihood of every document: float64 [documents], nats. `advance` is told of every token scored.

    Raises:
        UserError: the tokenizer has more ids than the model, or the window exceeds the model's positions.
    """
    import torch

    _check_fit(model.config, encoded, sequence_length)
    total = torch.zeros(len(encoded.ids), dtype=torch.float64)
    limit = LOGITS_PER_BATCH[model.device.type] // model.config.vocab_size
    with torch.inference_mode():
        for batch in _batches(encoded, sequence_length, limit):
            losses = _window_nll(model, [window for _, window in batch], encoded.separator_id)
            total.index_add_(0, torch.tensor([document for document, _ in batch]), losses)
            advance(sum(len(window) - 1 for _, window in batch))
    return total.numpy()


def windows(ids: np.ndarray, separator_id: int, sequence_length: int) -> Iterator[np.ndarray]:
    """Cut one document into int64 [2 .. sequence_length + 1]: inputs are all but the last, labels all but the first."""
    stream = np.concatenate([[separator_id], ids])
    for start in range(0, len(ids), sequence_length):
        yield stream[start : start + sequence_length + 1]


def _batches(encoded: Encoded, sequence_length: int, limit: int) -> Iterator[list[tuple[int, np.ndarray]]]:
    """(document, window) pairs, longest first: a batch holds windows of like length and at most `limit` tokens."""
    pairs = [
        (document, window)
        for document, ids in enumerate(encoded.ids)
        for window in windows(ids, encoded.separator_id, sequence_length)
    ]
    pairs.sort(key=lambda pair: -len(pair[1]))
    start = 0
    while start < len(pairs):
        rows = max(1, limit // (len(pairs[start][1]) - 1))
        yield pairs[start : start + rows]
        start += rows


def _window_nll(model: Any, batch: list[np.ndarray], padding_id: int) -> "torch.Tensor":
    """Summed negative log-likelihood of each window: float64 [len(batch)], on the CPU.

    Padding stands at the end, where a causal model cannot see it from the tokens that count: no mask is needed.
    """
    import torch
    import torch.nn.functional as F

    shape = (len(batch), max(map(len, batch)) - 1)
    inputs, labels = torch.full(shape, padding_id), torch.full(shape, IGNORED)
    for row, window in enumerate(batch):
        inputs[row, : len(window) - 1] = torch.from_numpy(window[:-1])
        labels[row, : len(window) - 1] = torch.from_numpy(window[1:])
    logits = model(input_ids=inputs.to(model.device), use_cache=False).logits
    losses = F.cross_entropy(
        logits.flatten(0, 1), labels.flatten().to(model.device), ignore_index=IGNORED, reduction="none"
    )
    return losses.view(shape).double().sum(dim=1).cpu()


def _check_fit(config: Any, encoded: Encoded, sequence_length: int) -> None:
    if encoded.vocab_size > config.vocab_size:
        raise UserError(
            f"the tokenizer has {encoded.vocab_size:,} tokens but the model only {config.vocab_size:,}; put "
            f"the tokenizer that the model was trained with into its folder."
        )
    if sequence_length > config.max_position_embeddings:
        raise UserError(
            f"field `evaluation.sequence_length` ({sequence_length}) exceeds the model's "
            f"{config.max_position_embeddings} positions; lower it."
        )
