"""A real optimizer step of a whole Qwen3 on one GPU: this project's engine against plain `transformers`, in one run.

    python benchmarks/gpu_step.py [--recipe qwen3_1p7b] [--micro-batch 1,2,4,8] [--peer-micro-batch 1,2,4,8]
        [--accumulation 1] [--loss-chunk-tokens N] [--recompute none|selective|full] [--steps 20] [--warm-up 5]
        [--sequence-length N] [--set FIELD=VALUE] [--peak-tflops 989] [--no-compile] [--profile]

Ours is the job that `cpt train` runs for phase 1 of the recipe, without its checkpoints: NeMo's trainer, the recipe's
precision, Megatron-Core's distributed optimizer with fp32 master weights, gradient clipping, the data loader. The peer
is `transformers` with SDPA, `torch.compile`, fused AdamW and clipping: fp32 weights under bf16 autocast, which is the
same arithmetic, and with everything in bf16, weights and moments too, which is less. Weights and tokens are random.
Every figure is of a process of its own, and one that does not fit is left out. MFU is `Qwen3Shape.flops_per_token`
(causal attention at half of the square) over the dense bf16 peak. --profile adds the five operators that take most of
our fastest step.

4B needs 18 bytes per weight beside activations, 72 GB: an H200, or `--recompute full --loss-chunk-tokens 4096` and
`--set gradient_reduction=bf16` on 80 GB. On a CPU, `--recipe qwen3_tiny` runs everything but the CUDA kernels.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from recipes.load import load_recipe
from recipes.shape import Qwen3Shape

HERE = Path(__file__).parent
PEAK_TFLOPS = {"H100": 989.0, "H200": 989.0, "GH200": 989.0, "A100": 312.0}  # dense bf16, from the data sheets


class Step(NamedTuple):
    """What one process found: see `benchmarks/step_clock.py`."""

    name: str
    micro_batch: int
    tokens_per_second: float
    memory_gb: float


def main() -> None:
    """Print a line per measurement, then the ratios of the best ones."""
    given = _options()
    recipe = load_recipe(given.recipe, given.set)
    given.sequence_length = given.sequence_length or recipe.phase(1).sequence_length
    peak = given.peak_tflops or _peak_tflops()
    shape = recipe.model.shape
    size, flops = shape.parameters / 1e9, shape.flops_per_token(given.sequence_length)
    print(f"{recipe.name}: {size:.3f} B weights, {given.sequence_length:,} tokens a sequence, {flops:.4g} FLOP a token")
    print(f"peak: {f'{peak:g} TFLOP/s' if peak else 'unknown'}", flush=True)
    best: dict[str, Step] = {}
    for name in ("ours", "transformers", "transformers, all in bf16")[: 2 if recipe.precision == "32" else 3]:
        for size in given.micro_batch if name == "ours" else given.peer_micro_batch:
            step = _measured(name, size, given)
            if step is None:
                print(f"{name}, micro batch {size}: out of memory", flush=True)
                break  # larger ones do not fit either
            print(_row(step, shape, given.sequence_length, peak), flush=True)
            best[name] = max(best.get(name, step), step, key=lambda one: one.tokens_per_second)
    for name in best.keys() - {"ours"}:
        if "ours" in best:
            print(f"ours / {name}: {best['ours'].tokens_per_second / best[name].tokens_per_second:.2f}")
    if given.profile and "ours" in best:
        _measured("ours", best["ours"].micro_batch, given, profile=True)


def _options() -> argparse.Namespace:
    def sizes(text: str) -> list[int]:
        return [int(part) for part in text.split(",")]

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="qwen3_1p7b")
    parser.add_argument("--micro-batch", type=sizes, default=[1, 2, 4, 8], metavar="N,N")
    parser.add_argument("--peer-micro-batch", type=sizes, default=[1, 2, 4, 8], metavar="N,N")
    parser.add_argument("--accumulation", type=int, default=1, help="micro batches of an optimizer step")
    parser.add_argument("--loss-chunk-tokens", type=int)
    parser.add_argument("--recompute", choices=("none", "selective", "full"), default="none")
    parser.add_argument("--steps", type=int, default=20, help="optimizer steps that are timed")
    parser.add_argument("--warm-up", type=int, default=5, help="optimizer steps before them, at least 1")
    parser.add_argument("--sequence-length", type=int, help="tokens; that of the recipe's first phase by default")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="override a recipe field")
    parser.add_argument("--peak-tflops", type=float, help="dense bf16; known for A100, H100 and H200")
    parser.add_argument("--no-compile", action="store_true", help="the peer without torch.compile")
    parser.add_argument("--profile", action="store_true")
    return parser.parse_args()


def _peak_tflops() -> float | None:
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        names = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    return next((peak for name, peak in PEAK_TFLOPS.items() if f" {name}" in f" {names}"), None)


def _measured(name: str, micro_batch: int, given: argparse.Namespace, profile: bool = False) -> Step | None:
    """One measurement in a process of its own; None if it does not fit the GPU."""
    script = HERE / ("engine_step.py" if name == "ours" else "peers/transformers_step.py")
    asked: dict[str, Any] = {**vars(given), "micro_batch": micro_batch, "all_bf16": "bf16" in name, "profile": profile}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(script), json.dumps(asked), folder]
        environment = os.environ | {"PYTHONPATH": str(HERE.parent), "PYTHONWARNINGS": "ignore"}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    answers = [line.removeprefix("ANSWER ") for line in done.stdout.splitlines() if line.startswith("ANSWER ")]
    if not answers:
        if "OutOfMemoryError" in done.stderr:
            return None
        sys.exit(f"{done.stdout[-2000:]}{done.stderr[-4000:]}\n{name} failed")
    answer = json.loads(answers[-1])
    print(*answer["profile"], sep="\n", end="\n" if profile else "")
    tokens = micro_batch * given.accumulation * given.sequence_length
    return Step(name, micro_batch, tokens / answer["seconds"], answer["memory"] / 1e9)


def _row(step: Step, shape: Qwen3Shape, sequence_length: int, peak: float | None) -> str:
    flops = step.tokens_per_second * shape.flops_per_token(sequence_length)
    mfu = f"MFU {flops / peak / 1e12:.1%}" if peak else f"{flops / 1e12:.3f} TFLOP/s"
    return (
        f"{step.name}, micro batch {step.micro_batch}: {step.tokens_per_second:,.0f} tokens/s, {mfu}, "
        f"{step.memory_gb:.1f} GB at most"
    )


if __name__ == "__main__":
    main()
