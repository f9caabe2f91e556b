"""Runs two models on the CPU and compares their logits:  python -m convert.logits_process REQUEST

REQUEST is a `convert.logits.Request` as JSON; the answer is lines of JSON, {"read": bytes, "of": bytes} and at last
{"report": …}. Both models run their own unmodified code, Megatron-Core's as it is configured for training and that of
`transformers`, in fp32, streamed (`recipes.engine.streamed`). The process is its own because what lets NeMo run on a
CPU changes torch.
"""

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from convert.hf_folder import EMBEDDING as HF_EMBEDDING
from convert.hf_folder import HfFolder
from convert.logits import LogitReport, Request, Side, compare, memory_limit, tolerance_for
from convert.mapping import EMBEDDING, LAYERS, Slot, pad_vocabulary, slots, to_megatron
from convert.nemo_checkpoint import NemoWeights
from convert.opening import open_weights
from recipes.errors import UserError
from recipes.shape import Qwen3Shape
from recipes.terminal import run_command

Logits = Callable[[Tensor], Tensor]  # tokens [prompts, positions] -> logits [prompts, positions, vocabulary], fp32
Count = Callable[[Tensor], Tensor]  # gives back the tensor, which was read
Source = HfFolder | NemoWeights


def answer(request: Request, say: Callable[[int, int], None] = lambda read, of: None) -> LogitReport:
    """Compare the logits of two models; `say` is told the bytes read so far, and those to read.

    Raises:
        UserError: a model cannot be read, or they have different vocabularies.
    """
    start = time.monotonic()
    a, b = _open(request.a), _open(request.b)
    vocabulary = a.shape.vocab_size
    if vocabulary != b.shape.vocab_size:
        sizes = f"{vocabulary} and {b.shape.vocab_size} tokens"
        raise UserError(f"{a.place} and {b.place}: their vocabularies have {sizes}; give two forms of one model.")
    done, total = 0, _bytes(a, request.greedy_tokens) + _bytes(b, 1)

    def count(tensor: Tensor) -> Tensor:
        nonlocal done
        done = min(done + tensor.nbytes, total)  # the padding of a vocabulary is read, too, but not in the total
        say(done, total)
        return tensor

    tokens = prompt_tokens(vocabulary, request.prompts, request.prompt_tokens)
    with torch.no_grad():
        with _running(request.a, a, count) as logits:
            tokens, expected = continue_greedily(logits, tokens, request.greedy_tokens)
        with _running(request.b, b, count) as logits:
            found = logits(tokens)
    measured = {
        "seconds": time.monotonic() - start,
        "peak_memory": _peak_memory(),
        "memory_limit": memory_limit(a.shape, tokens.numel()),
    }
    report = compare(expected, found, request.greedy_tokens, tolerance_for(*a.dtypes, *b.dtypes))
    return report.model_copy(update=measured)


def prompt_tokens(vocab_size: int, prompts: int, length: int) -> Tensor:
    """Token ids [prompts, length] that depend on nothing but the arguments."""
    return torch.randint(vocab_size, (prompts, length), generator=torch.Generator().manual_seed(0))


def continue_greedily(logits: Logits, tokens: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Append the `count` - 1 most likely tokens one by one; returns (tokens, the logits of all of them).

    The last `count` logits say the `count` tokens that follow the prompt. One pass per token, all prompts at once.
    """
    for _ in range(count - 1):
        tokens = torch.cat([tokens, logits(tokens)[:, -1:].argmax(-1)], dim=1)
    return tokens, logits(tokens)


def megatron_names(slot: Slot) -> list[str]:
    """The slot's names in GPTModel's own state, where layers are numbered."""
    if slot.layer is None:
        return list(slot.keys)
    return [key.replace(LAYERS, f"{LAYERS}{slot.layer}.", 1) for key in slot.keys]


def _open(side: Side) -> Source:
    return open_weights(side.path, side.shape, side.allow_pickle)


def _bytes(source: Source, passes: int) -> int:
    """What is read in so many passes, at most; a tied embedding stays after the first."""
    shape, item = source.shape, max(dtype.itemsize for dtype in source.dtypes)
    kept = shape.vocab_size * shape.hidden_size if shape.tie_word_embeddings else 0
    return item * (kept + (shape.parameters - kept) * passes)


def _running(side: Side, source: Source, count: Count) -> contextlib.AbstractContextManager[Logits]:
    if side.framework == "megatron":
        return _under_megatron(source, side.shape, count)
    assert isinstance(source, HfFolder)
    return _under_transformers(source, count)


@contextlib.contextmanager
def _under_megatron(source: Source, shape: Qwen3Shape, count: Count) -> Iterator[Logits]:
    from recipes.engine import platform

    platform.prepare()
    from recipes.engine.model import build_model
    from recipes.engine.streamed import streamed

    model = build_model(shape).eval()
    named = {name: slot for slot in slots(shape) for name in megatron_names(slot)}

    def read(name: str) -> Tensor:
        return count(_megatron_tensor(source, named[name], model.vocab_size))

    def logits(tokens: Tensor) -> Tensor:
        positions = torch.arange(tokens.shape[1]).expand_as(tokens)
        every: Tensor = model(tokens, positions, attention_mask=None)
        return every[..., : shape.vocab_size]

    with streamed(model, read, [EMBEDDING.megatron] if shape.tie_word_embeddings else []):
        yield logits


def _megatron_tensor(source: Source, slot: Slot, rows: int) -> Tensor:
    """The slot's tensor as Megatron-Core stores it, with as many rows of the vocabulary as the model is built with."""
    if isinstance(source, HfFolder):
        return to_megatron(slot, list(source.parts(slot).values()), source.shape, rows)
    tensor = source.checkpoint.read(slot)
    return pad_vocabulary(tensor[:rows], rows) if slot.rule.over_vocabulary else tensor


@contextlib.contextmanager
def _under_transformers(source: HfFolder, count: Count) -> Iterator[Logits]:
    from recipes.engine.empty_model import empty_model
    from recipes.engine.streamed import streamed

    model = empty_model(source.root)
    keep = [HF_EMBEDDING] if source.shape.tie_word_embeddings else []
    with streamed(model, lambda name: count(source.tensor(name)), keep):
        yield lambda tokens: model(tokens, use_cache=False).logits


def _peak_memory() -> int:
    """Of this process since it began; getrusage would count that of the one that started it as well (proc(5))."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print goes with the errors

    def say(content: object) -> None:
        print(json.dumps(content), file=answers, flush=True)

    request = Request.model_validate_json(sys.argv[1])
    report = answer(request, lambda read, of: say({"read": read, "of": of}))
    say({"report": report.model_dump()})


if __name__ == "__main__":
    run_command(main)
