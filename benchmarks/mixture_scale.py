"""How long and with how much memory a mixture of very many documents is cut.

    python benchmarks/mixture_scale.py --documents 20e6  --folder build/mixture_scale
    python benchmarks/mixture_scale.py --documents 200e6 --folder build/mixture_scale    # 100 B tokens; 8.5 GB of disk

Makes the shards of five sources whose .idx files are real (document lengths log-normal, 500 tokens in the mean) and
whose .bin files are sparse: their tokens are never read. Then plans and cuts four phases that read each source about
once, the last one long theses only, in a process of its own, three times over: all phases, nothing changed, the last
phase changed. Prints per stage the wall and CPU seconds, what the disk takes at its measured rates, and the peak of the
process's own memory: RssAnon, sampled, which leaves out the mapped pages of the .idx files that VmHWM counts too. The
folder is removed at the end unless --keep.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data_prep import mixture
from data_prep.index_checks import chunks
from data_prep.indexed import CODES, HEADER, MAGIC, VERSION, data_file, index_file
from data_prep.tokenize_source import PREFIX
from recipes import artifacts
from recipes.layout import RunFolder
from recipes.load import load_recipe
from recipes.schema import Recipe

SOURCES = {"web": 0.40, "theses": 0.25, "decisions": 0.20, "english": 0.10, "code": 0.05}  # of the documents
MEAN_TOKENS, SIGMA, LONGEST = 500, 1.0, 1_000_000
PHASES = (0.10, 0.30, 0.40, 0.18)  # of all tokens
SAMPLED = 0.02  # seconds between looks at the memory
GB = 1e9


def make_shards(run: RunFolder, documents: int) -> list[dict[str, Any]]:
    """Shards of `documents` documents, and what their receipts would say."""
    receipts = []
    for number, (name, share) in enumerate(SOURCES.items()):
        prefix = run.shards / name / PREFIX
        prefix.parent.mkdir(parents=True)
        random = np.random.Generator(np.random.Philox(number))
        mean = np.log(MEAN_TOKENS) - SIGMA**2 / 2
        lengths = np.empty(int(documents * share), np.int32)
        for part in chunks(len(lengths)):
            drawn = random.lognormal(mean, SIGMA, part.stop - part.start)
            lengths[part] = np.clip(drawn, 1, LONGEST)
        size = _write_index(prefix, lengths)
        with data_file(prefix).open("wb") as stream:
            stream.truncate(size)
        receipts.append(_receipt(name, lengths, size))
    return receipts


def _write_index(prefix: Path, lengths: np.ndarray) -> int:
    """Bytes of the .bin."""
    count, end = len(lengths), 0
    with index_file(prefix).open("wb") as stream:
        stream.write(HEADER.pack(MAGIC, VERSION, CODES[np.dtype("<i4")], count, count + 1))
        stream.write(lengths.data)
        for part in chunks(count):
            ends = end + 4 * np.cumsum(lengths[part], dtype=np.int64)
            stream.write((ends - 4 * lengths[part]).data)
            end = int(ends[-1])
        for part in chunks(count + 1):
            stream.write(np.arange(part.start, part.stop, dtype="<i8").data)
        os.fsync(stream.fileno())
    return end


def _receipt(name: str, lengths: np.ndarray, size: int) -> dict[str, Any]:
    return {
        "source": name,
        "domain": f"{name}_domain",
        "documents": len(lengths),
        "tokens": int(lengths.sum(dtype=np.int64)),
        "bytes": size,
        "files": {"documents.bin": "not hashed", "documents.idx": "not hashed"},
        "separator_id": 3,
        "vocab_size": 151_936,
        "tokenizer_digest": "none",
    }


def recipe_for(receipts: list[dict[str, Any]], last: float = PHASES[-1]) -> Recipe:
    """Four phases over all sources by their size; the last one asks for long theses."""
    tokens = sum(receipt["tokens"] for receipt in receipts)
    overrides = []
    for number, share in enumerate((*PHASES[:-1], last), 1):
        mixture_of_phase = {name: SOURCES[name] for name in SOURCES}
        overrides += [
            f"phases.{number}.token_budget={int(share * tokens)}",
            f"phases.{number}.sequence_length=4096",
            f"phases.{number}.global_batch_size=800",
            f"phases.{number}.mixture={json.dumps(mixture_of_phase)}",
        ]
    overrides += ["phases.4.minimum_document_tokens={theses: 1000}", "model.shape.max_position_embeddings=4096"]
    return load_recipe("qwen3_tiny", [*overrides, "model.shape.vocab_size=151936"])


def timed(module: Any, name: str, seconds: dict[str, list[float]]) -> None:
    """Add up the wall and CPU seconds of `module.name`."""
    function: Callable[..., Any] = getattr(module, name)

    def wrapped(*arguments: Any, **keywords: Any) -> Any:
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            return function(*arguments, **keywords)
        finally:
            seconds[name][0] += time.perf_counter() - wall
            seconds[name][1] += time.process_time() - cpu

    setattr(module, name, wrapped)


def mix_and_report(run: RunFolder, last: float) -> None:
    """In a process of its own: mix, and print one JSON line."""
    receipts = json.loads((run.root / "receipts.json").read_text())
    seconds: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for name in ("read_indices", "open_streams", "sizes_of_streams", "make_plan", "cut_phase", "write_phase"):
        timed(mixture, name, seconds)
    for name in ("phase_state", "position_of", "ensure_plot"):
        timed(mixture, name, seconds)
    timed(artifacts, "_flush", seconds)
    peak = watch_memory()
    wall = time.perf_counter()
    tables = mixture.mix(recipe_for(receipts, last), receipts, run, None, mixture.Progress(disable=True))
    usage = resource.getrusage(resource.RUSAGE_SELF)
    wall = time.perf_counter() - wall
    written = sum(
        path.stat().st_size
        for table in tables
        if not table.skipped
        for path in run.phase(table.number).rglob("*")
        if not path.is_symlink() and path.is_file()
    )
    answer = {
        "wall": wall,
        "cpu": usage.ru_utime + usage.ru_stime,
        "stages": seconds,
        "own_memory": peak() / GB,
        "all_memory": usage.ru_maxrss * 1024 / GB,
        "written": written / GB,
        "cut": [table.number for table in tables if not table.skipped],
        "documents": sum(row.documents for table in tables for row in table.sources),
        "missed": max(abs(row.samples - row.samples_asked) for table in tables for row in table.sources),
    }
    print(json.dumps(answer))


def watch_memory() -> Callable[[], float]:
    """Sample this process's RssAnon (bytes); the answer gives its peak."""
    highest = [0]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(SAMPLED):
            status = Path("/proc/self/status").read_text()
            highest[0] = max(highest[0], 1024 * int(status.split("RssAnon:")[1].split()[0]))

    threading.Thread(target=watch, daemon=True).start()

    def peak() -> float:
        done.set()
        return highest[0]

    return peak


def disk_rates(folder: Path, size: int = 1 << 30) -> tuple[float, float]:
    """Bytes per second of writing a file to the disk, and of reading it from there."""
    path, block = folder / "rate", os.urandom(1 << 24)
    start = time.perf_counter()
    with path.open("wb") as stream:
        for _ in range(size // len(block)):
            stream.write(block)
        stream.flush()
        os.fsync(stream.fileno())
        writing = time.perf_counter() - start
        os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    start = time.perf_counter()
    with path.open("rb") as stream:
        while stream.read(1 << 24):
            pass
    reading = time.perf_counter() - start
    path.unlink()
    return size / writing, size / reading


def report(title: str, run: RunFolder, last: float, rates: tuple[float, float]) -> None:
    """Run one mix in a process of its own and print what it took."""
    command = [sys.executable, __file__, "--folder", str(run.root), "--child", str(last)]
    answer = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    flushed, stages = answer["stages"].pop("_flush", [0.0, 0.0])[0], answer["stages"]
    indices = sum(index_file(run.shards / name / PREFIX).stat().st_size for name in SOURCES) / GB
    print(f"\n{title}: phases cut {answer['cut']}, {answer['documents']:,} documents listed")
    for name, (wall, cpu) in stages.items():
        print(f"  {name:18} {wall:7.1f} s wall  {cpu:7.1f} s CPU")
    print(f"  {'all':18} {answer['wall']:7.1f} s wall  {answer['cpu']:7.1f} s CPU (user and system)")
    write, read = (rate / GB for rate in rates)
    wall, written, own, mapped = (answer[name] for name in ("wall", "written", "own_memory", "all_memory"))
    print(
        f"  {written:.2f} GB written: {written / write:.1f} s at the disk's {write:.2f} GB/s; {flushed:.1f} s in fsync"
    )
    print(f"  {indices:.2f} GB of .idx read: {indices / read:.1f} s at its {read:.2f} GB/s, where they are not cached")
    print(
        f"  wall less writing at that rate {wall - written / write:.1f} s; CPU over 2 cores {answer['cpu'] / 2:.1f} s"
    )
    print(f"  own memory (peak of RssAnon) {own:.2f} GB; with mapped files (VmHWM) {mapped:.2f} GB")
    print(f"  largest miss of a share: {answer['missed']} sequences")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=float, default=20e6)
    parser.add_argument("--folder", type=Path, default=Path("build/mixture_scale"))
    parser.add_argument("--keep", action="store_true", help="leave the folder for another run")
    parser.add_argument("--child", type=float, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    run = RunFolder(arguments.folder)
    if arguments.child is not None:
        mix_and_report(run, arguments.child)
        return
    if not (run.root / "receipts.json").is_file():
        if run.root.is_dir() and any(run.root.iterdir()):
            sys.exit(f"{run.root} holds something else, and would be removed at the end; name a new folder")
        receipts = make_shards(run, int(arguments.documents))
        (run.root / "receipts.json").write_text(json.dumps(receipts))
    receipts = json.loads((run.root / "receipts.json").read_text())
    tokens, documents = (sum(receipt[what] for receipt in receipts) for what in ("tokens", "documents"))
    print(f"{documents:,} documents, {tokens:,} tokens, {len(os.sched_getaffinity(0))} cores")
    rates = disk_rates(run.root)
    shutil.rmtree(run.root / "phases", ignore_errors=True)
    report("all four phases", run, PHASES[-1], rates)
    report("nothing changed", run, PHASES[-1], rates)
    report("the last phase changed", run, PHASES[-1] - 0.02, rates)
    if not arguments.keep:
        shutil.rmtree(run.root)


if __name__ == "__main__":
    main()
