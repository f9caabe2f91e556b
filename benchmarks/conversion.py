"""Import and export of a whole Qwen3 of random weights, against `cp` of the same files in the same run.

    python benchmarks/conversion.py --recipe qwen3_4b --folder FOLDER [--verify]

FOLDER needs room for four copies of the model (8 GB each at 4B). Conversions run as whole processes; times include
writing everything to disk (`sync`).
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from math import prod
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))

from convert.hf_writer import config_for, write_weights
from convert.mapping import hf_sizes
from data_prep.bundled import tokenizer_folder
from recipes.artifacts import write_json
from recipes.load import load_recipe
from recipes.shape import Qwen3Shape

CPT = (sys.executable, "-m", "launch.cli", "convert")


def main() -> None:
    """Print one line per step, and the ratios to cp."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="qwen3_4b")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--verify", action="store_true", help="measure the conversions with their verification too")
    parser.add_argument("--make", action="store_true", help="only make the model; a process of its own does")
    given = parser.parse_args()
    shape, folder = load_recipe(given.recipe).model.shape, given.folder
    model, nemo, back, copy = (folder / name for name in ("model", "nemo", "back", "copy"))
    if given.make:
        return make_model(shape, model)
    if not (model / "config.json").is_file():  # elsewhere: a child's peak memory begins with its parent's
        subprocess.run([sys.executable, *sys.argv, "--make"], check=True)
    size = sum(path.stat().st_size for path in model.glob("*.safetensors"))
    print(f"{shape.parameters / 1e9:.2f} B weights, {size / 1e9:.2f} GB", flush=True)
    peer = step("cp", ["cp", "-r", str(model), str(copy)], copy)
    flags = [] if given.verify else ["--no-verify"]
    for name, command, out in (
        ("import", [*CPT, "import", str(model), str(nemo), *flags], nemo),
        ("export", [*CPT, "export", str(nemo), str(back), "--base", str(model), *flags], back),
    ):
        seconds = step(name, command, out)
        print(f"{name} / cp: {seconds / peer:.2f}", flush=True)
    same = all(filecmp(path, back / path.name) for path in model.glob("*.safetensors"))
    print(f"weights after the round trip are {'bit-identical' if same else 'DIFFERENT'}")
    shutil.rmtree(copy)


def filecmp(one: Path, other: Path) -> bool:
    """Whether two files are equal byte by byte, header and all."""
    return subprocess.run(["cmp", "--quiet", str(one), str(other)], check=False).returncode == 0


def step(name: str, command: list[str], out: Path) -> float:
    """Run one command on an idle disk; print and return its seconds, those of flushing to disk included."""
    shutil.rmtree(out, ignore_errors=True)
    os.sync()
    start = time.perf_counter()
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    ended = time.perf_counter() - start
    os.sync()
    seconds = time.perf_counter() - start
    if status:
        raise SystemExit(f"{name} failed")
    cpu = usage.ru_utime + usage.ru_stime
    print(
        f"{name}: {ended:.1f} s, {seconds:.1f} s with sync, {cpu:.1f} s CPU, peak {usage.ru_maxrss / 1e6:.2f} GB RSS",
        flush=True,
    )
    return seconds


def make_model(shape: Qwen3Shape, folder: Path) -> None:
    """A Hugging Face folder of random bf16 weights of this shape."""
    folder.mkdir(parents=True)
    sizes = hf_sizes(shape)
    write_weights(folder, _random(sizes), sizes, torch.bfloat16)
    tokenizer = tokenizer_folder("bundled:qwen3", folder.parent / "tokenizer")
    for path in tokenizer.iterdir():
        shutil.copyfile(path, folder / path.name)
    write_json(folder / "config.json", config_for(shape, None, torch.bfloat16, {}))


def _random(sizes: dict[str, tuple[int, ...]]) -> Iterator[tuple[str, Tensor]]:
    """One block of random numbers, shifted from tensor to tensor: drawing billions would take minutes."""
    torch.manual_seed(0)
    block = torch.randn(max(map(prod, sizes.values())) + len(sizes)).mul_(0.02).bfloat16()
    for number, (name, size) in enumerate(sizes.items()):
        yield name, block[number : number + prod(size)].view(size)


if __name__ == "__main__":
    main()
