"""Packed samples beside each of their documents alone, and what training reads, with document masking; prints JSON.

    python mask_documents.py '[{"run": FOLDER, "recipe": FILE, "phase": 2, "ranks": 2, "fault": NAME}, …]' PACKS

Jobs are trained as `train_forked.py` does, all but the first in a copy of the first one's folder. Before its first step
each compares the logits of two packed samples with those of every document alone, without any masking, and writes the
largest difference of each document beside its metrics. PACKS is the phase folder of a best-fit mixture. A program of
its own, because the CPU compatibility layer changes the torch of the process it is switched on in.
"""

import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import train_forked
from torch import Tensor

from recipes.blend import Blend
from recipes.engine.platform import prepare

SEPARATOR, SEQUENCE = 3, 32
DOCUMENTS = [[6, 2, 14, 10], [2, 10, 20]]  # tokens, of each sample; even, because two ranks share a sequence


def main(jobs: list[dict[str, Any]], packs: Path) -> None:
    prepare()
    from recipes.engine.progress import Progress

    on_train_start = Progress.on_train_start

    def compared_first(self: Any, trainer: Any, pl_module: Any) -> None:
        differences = _differences(trainer.strategy.megatron_parallel.pipeline)
        (self.metrics.parent / f"differences_{torch.distributed.get_rank()}.json").write_text(json.dumps(differences))
        on_train_start(self, trainer, pl_module)

    Progress.on_train_start = compared_first
    for fault in (borders_of_samples_alone, borders_on_the_first_stage_alone):
        setattr(train_forked, fault.__name__, fault)
    answers = [train_forked._train(jobs[0])]
    for job in jobs[1:]:
        shutil.copytree(jobs[0]["run"], job["run"])
        answers.append(train_forked._train(job))
    samples = {name: _samples(Path(jobs[0]["run"]) / "phases" / "1", masked) for name, masked in FLAGS.items()}
    kernels = {"engine": _engine_attention(), "shapes": _flash_shapes(), "flash": _flash_attention()}
    print(json.dumps({"jobs": answers, "samples": samples, "packs": _samples(packs, True), "kernels": kernels}))


FLAGS = {"masked": True, "plain": False}


@torch.no_grad()
def _differences(model: Any) -> list[float]:
    """Of every document of both samples; empty but on the last pipeline stage."""
    tokens = torch.randint(SEPARATOR + 1, 256, (2, SEQUENCE), generator=torch.Generator().manual_seed(0))
    ends = torch.tensor(DOCUMENTS[0]).cumsum(0), torch.tensor(DOCUMENTS[1]).cumsum(0)[:-1]  # one goes on behind its end
    for sample, last in zip(tokens, ends, strict=True):
        sample[last - 1] = SEPARATOR
    positions = [torch.cat([torch.arange(length) for length in lengths]) for lengths in DOCUMENTS]
    whole = _logits(model, tokens, torch.stack(positions), masked=True)
    differences = []
    for number, lengths in enumerate(DOCUMENTS):
        for one, place in zip(tokens[number].split(lengths), torch.arange(SEQUENCE).split(lengths), strict=True):
            alone = _logits(model, one[None], torch.arange(len(one))[None], masked=False)
            if whole is not None and alone is not None:
                differences.append((whole[number, place] - alone[0]).abs().max().item())
    return differences


def _logits(model: Any, tokens: Tensor, position_ids: Tensor, masked: bool) -> Tensor | None:
    """[batch, sequence, vocabulary] by the steps of training, or without a mask; None but on the last stage."""
    from megatron.core.pipeline_parallel import get_forward_backward_func
    from megatron.core.tensor_parallel import gather_from_tensor_model_parallel_region

    def forward(data: Any, model: Any) -> Any:
        batch = {**model.data_step(data), "labels": None}
        if not masked:
            batch["cu_seqlens"] = None
        return model.forward_step(batch), lambda logits, **ignored: logits

    batch = {"tokens": tokens, "labels": tokens, "loss_mask": torch.ones(tokens.shape), "position_ids": position_ids}
    outputs = get_forward_backward_func()(
        forward_step_func=forward,
        data_iterator=iter([batch]),
        model=model,
        num_microbatches=1,
        seq_length=tokens.shape[1],
        micro_batch_size=len(tokens),
        forward_only=True,
        collect_non_loss_data=True,
    )
    return gather_from_tensor_model_parallel_region(outputs[0]) if outputs else None


def borders_of_samples_alone() -> None:
    from recipes.engine import documents

    documents.cu_seqlens = _samples_alone


def borders_on_the_first_stage_alone() -> None:
    from megatron.core import parallel_state

    from recipes.engine import documents

    cu_seqlens = documents.cu_seqlens

    def forgotten(position_ids: Tensor) -> Tensor:
        return (cu_seqlens if parallel_state.is_pipeline_first_stage() else _samples_alone)(position_ids)

    documents.cu_seqlens = forgotten


def _samples_alone(position_ids: Tensor) -> Tensor:
    return torch.arange(len(position_ids) + 1, dtype=torch.int32) * position_ids.size(1)


def _samples(folder: Path, masked: bool) -> list[dict[str, list[float]]]:
    """What training reads of a phase: tokens, labels, loss mask and positions of every sample."""
    from recipes.engine.data_module import PhaseData

    blend = Blend.model_validate_json((folder / "blend.json").read_text())
    data = PhaseData(folder, blend, micro_batch_size=1, document_masking=masked)
    data.setup()
    return [{name: data.dataset[number][name].tolist() for name in FIELDS} for number in range(blend.samples)]


FIELDS = ("tokens", "labels", "loss_mask", "position_ids")
BORDERS = [0, 5, 6, 12, 18, 24]  # of two samples of 12


def _engine_attention() -> list[float]:
    """How far the outputs and gradients of our attention are from those through Transformer Engine's interface."""
    from megatron.core.extensions import transformer_engine

    from recipes.engine.layers import CausalAttention

    transformer_engine.TEDotProductAttention = TransformerEngine
    from recipes.engine.engine_attention import DocumentAttention

    config = SimpleNamespace(context_parallel_size=1, attention_dropout=0.0)
    ours, theirs = (
        _outputs(module, torch.device("cpu"), torch.float32)
        for module in (CausalAttention(config, 1, None), DocumentAttention())
    )
    return [(one - other).abs().max().item() for one, other in zip(ours, theirs, strict=True)]


class TransformerEngine(torch.nn.Module):
    """What Megatron-Core and Transformer Engine document of `thd` attention, in the place of their class."""

    def forward(self, query: Tensor, key: Tensor, value: Tensor, mask: None, packed_seq_params: Any = None) -> Tensor:
        borders = packed_seq_params.cu_seqlens_q
        assert packed_seq_params.qkv_format == "thd" and mask is None and borders.dtype == torch.int32
        assert packed_seq_params.cu_seqlens_kv is borders and packed_seq_params.max_seqlen_kv >= borders.diff().max()
        number = (borders[1:, None] <= torch.arange(len(query))).sum(0)  # of each token's document
        seen = (number[:, None] == number) & torch.ones(len(query), len(query), dtype=torch.bool).tril()
        tensors = (tensor.transpose(0, 1) for tensor in (query, key, value))
        context = torch.nn.functional.scaled_dot_product_attention(*tensors, attn_mask=seen, enable_gqa=True)
        return context.transpose(0, 1).flatten(1)


def _outputs(module: Any, device: torch.device, dtype: torch.dtype) -> list[Tensor]:
    """Context and the gradients of query, key and value, of two samples of 12 tokens with five documents."""
    generator = torch.Generator().manual_seed(0)
    shapes = ((12, 2, 4, 64), (12, 2, 2, 64), (12, 2, 2, 64), (12, 2, 256))
    *states, weight = (torch.randn(shape, generator=generator).to(device, dtype) for shape in shapes)
    for state in states:
        state.requires_grad_()
    context = module(*states, torch.tensor(BORDERS, dtype=torch.int32, device=device), packed_seq_params=None)
    return [context.detach(), *torch.autograd.grad((context * weight).sum(), states)]


def _flash_shapes() -> list[int]:
    """Of what the kernel for GPUs returns; the meta device checks the call without one."""
    from recipes.engine.layers import flash_attention

    query, key = torch.empty(24, 4, 64, device="meta"), torch.empty(24, 2, 64, device="meta")
    return list(flash_attention(query, key, key, torch.tensor(BORDERS, dtype=torch.int32, device="meta"), 12).shape)


def _flash_attention() -> list[float] | None:
    """How far the kernel for GPUs is from fp32 on the CPU, in bf16; None without a GPU."""
    from recipes.engine.layers import CausalAttention
    from recipes.engine.platform import has_cuda

    if not has_cuda():
        return None
    module = CausalAttention(SimpleNamespace(context_parallel_size=1, attention_dropout=0.0), 1, None)
    exact = _outputs(module, torch.device("cpu"), torch.float32)
    fast = _outputs(module, torch.device("cuda"), torch.bfloat16)
    return [(one - other.float().cpu()).abs().max().item() for one, other in zip(exact, fast, strict=True)]


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), Path(sys.argv[2]))
