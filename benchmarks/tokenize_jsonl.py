"""JSON lines to a verified .bin/.idx, whole process, no cleaning: this project against its peers, in one run.

    python benchmarks/tokenize_jsonl.py [--file FILE.jsonl] [--tokenizer FOLDER] [--workers 2] [--repeats 3]
                                        [--datatrove-python PYTHON] [--peers encode_files,tokenizers,datatrove]

Without --file, the bundled sample's legal text is repeated to 64 MB. datatrove needs numpy 2, so it has an environment
of its own: python -m venv DT && DT/bin/pip install "datatrove[io,processing]"; then --datatrove-python DT/bin/python.
Peers that write files get the same cores, and the documents that they wrote are compared with ours, token by token.
Prints per program the best of the repeats: wall and CPU seconds, peak memory, and the ratio to ours.
"""

import argparse
import gzip
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import yaml
from measured import Measured, measure

from data_prep.bundled import SAMPLE, tokenizer_folder
from data_prep.indexed import map_index, read_document, read_tokens

PEERS = Path(__file__).parent / "peers"
PIECES = 8  # files that the peers read, which cannot share one


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        work = Path(folder)
        file = options.file or _repeated_sample(work / "sample.jsonl")
        tokenizer = (
            Path(options.tokenizer) if options.tokenizer else tokenizer_folder("bundled:qwen3", work / "tokenizer")
        )
        print(f"{file.stat().st_size / 1e6:.0f} MB of JSON lines, {options.workers} workers, {os.cpu_count()} cores")
        ours = _best(lambda: _ours(work, file, tokenizer, options.workers), options.repeats)
        print(_row("this project", ours, ours))
        expected = _digest_of_documents([work / "run/shards/text/documents"])
        for name in options.peers.split(","):
            peer = _PEERS[name]
            cost = _best(partial(peer, work, file, tokenizer, options), options.repeats)
            print(_row(name, cost, ours))
            written = sorted((work / "peer").glob("*.idx"))
            if written and _digest_of_documents([path.with_suffix("") for path in written]) != expected:
                sys.exit(f"{name} wrote other documents than this project")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--file", type=Path)
    parser.add_argument("--tokenizer")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--datatrove-python", default=None)
    parser.add_argument("--peers", default="encode_files,tokenizers")
    parser.add_argument("--folder", help="a folder on the disk to be used; the temporary one by default")
    return parser.parse_args()


def _repeated_sample(target: Path) -> Path:
    texts = [gzip.decompress((SAMPLE.parent / f"{name}.jsonl.gz").read_bytes()) for name in ("laws", "decisions")]
    with target.open("wb") as stream:
        while stream.tell() < 64e6:
            stream.writelines(texts)
    return target


def _ours(work: Path, file: Path, tokenizer: Path, workers: int) -> Measured:
    source = {"name": "text", "domain": "all", "files": [str(file.resolve())], "language": "tr", "licence": "none"}
    settings = {"name": "benchmark", "heldout_fraction": 0, "cleaning": [], "exact_duplicates": "keep"}
    (work / "corpus.yaml").write_text(yaml.safe_dump({**settings, "sources": [source]}))
    shutil.rmtree(work / "run", ignore_errors=True)
    tokenized = ["--set", f"tokenizer.path={tokenizer}", "--workers", str(workers)]
    return measure(
        ["cpt", "data", "prepare", "--corpus", str(work / "corpus.yaml"), "--run", str(work / "run"), *tokenized]
    )


def _encode_files(work: Path, file: Path, tokenizer: Path, options: argparse.Namespace) -> Measured:
    command = [sys.executable, str(PEERS / "encode_files.py"), str(tokenizer / "tokenizer.json"), str(file)]
    return measure(["taskset", "-c", f"0-{options.workers - 1}", *command])


def _tokenizers(work: Path, file: Path, tokenizer: Path, options: argparse.Namespace) -> Measured:
    target = _empty(work / "peer") / "documents"
    command = [str(PEERS / "tokenizers_megatron.py"), str(tokenizer / "tokenizer.json"), str(target)]
    return measure([sys.executable, *command, str(options.workers), str(file)], TOKENIZERS_PARALLELISM="false")


def _datatrove(work: Path, file: Path, tokenizer: Path, options: argparse.Namespace) -> Measured:
    if not options.datatrove_python:
        sys.exit("datatrove needs --datatrove-python; see --help")
    pieces = _pieces(file, work / "pieces")
    command = [str(PEERS / "datatrove_megatron.py"), str(tokenizer / "tokenizer.json"), str(pieces)]
    return measure([options.datatrove_python, *command, str(_empty(work / "peer")), str(options.workers)])


_PEERS: dict[str, Callable[[Path, Path, Path, argparse.Namespace], Measured]] = {
    "encode_files": _encode_files,
    "tokenizers": _tokenizers,
    "datatrove": _datatrove,
}


def _pieces(file: Path, folder: Path) -> Path:
    if not folder.exists():
        folder.mkdir()
        streams = [(folder / f"{number}.jsonl").open("wb") for number in range(PIECES)]
        with file.open("rb") as lines:
            for number, line in enumerate(lines):
                streams[number % PIECES].write(line)
        for stream in streams:
            stream.close()
    return folder


def _empty(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def _digest_of_documents(prefixes: list[Path]) -> str:
    """Of the multiset of documents: peers write them in another order."""
    digests = sorted(hashlib.sha256(document).digest() for prefix in prefixes for document in _documents(prefix))
    return hashlib.sha256(b"".join(digests)).hexdigest()


def _documents(prefix: Path) -> Iterator[bytes]:
    index, _ = map_index(prefix)
    tokens = read_tokens(prefix, index)
    for number in range(len(index.lengths)):
        yield read_document(tokens, index, number).astype(np.int32).tobytes()


def _best(run: Callable[[], Measured], repeats: int) -> Measured:
    return min((run() for _ in range(repeats)), key=lambda cost: cost.wall)


def _row(name: str, cost: Measured, ours: Measured) -> str:
    numbers = f"{cost.wall:7.2f} s wall {cost.cpu:7.2f} s CPU {cost.memory / 1e6:7.0f} MB"
    return f"{name:14} {numbers}   {cost.wall / ours.wall:6.2f} × our time"


if __name__ == "__main__":
    main()
