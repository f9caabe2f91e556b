"""Runs to damage: the bundled sample with all its phases, and small ones whose every token is known."""

import hashlib
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_prep.bundled import SAMPLE
from data_prep.indexed import ShardWriter, data_file, index_file, read_index, write_index
from data_prep.mixture import build
from recipes.artifacts import file_digest, sealed, write_json
from recipes.layout import RunFolder
from recipes.load import load_recipe

SEPARATOR, VOCABULARY, SEQUENCE = 3, 256, 8
Documents = Sequence[Sequence[int]]


@pytest.fixture(scope="session")
def sample_phases(sample_run: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """The bundled sample's shards and the mixtures of all phases; tests must not change it."""
    run = RunFolder(tmp_path_factory.mktemp("verify") / "run")
    shutil.copytree(sample_run.root, run.root)
    build(load_recipe("qwen3_tiny"), SAMPLE, run)
    return run


@pytest.fixture
def run(sample_phases: RunFolder, tmp_path: Path) -> RunFolder:
    """A copy of it whose records and whose laws and spanish may be damaged; the other files are shared."""

    def copy(source: str, target: str) -> None:
        own = source.endswith(".json") or "laws" in source or "spanish" in source
        (shutil.copy2 if own else os.link)(source, target)

    shutil.copytree(sample_phases.root, tmp_path / "run", symlinks=True, copy_function=copy)
    return RunFolder(tmp_path / "run")


@pytest.fixture
def write_dataset(tmp_path: Path) -> Callable[..., Path]:
    """Write a dataset that nobody vouches for; returns its prefix."""

    def write(documents: Documents, dtype: str = "<u2", name: str = "dataset") -> Path:
        _write(tmp_path / name, documents, dtype)
        return tmp_path / name

    return write


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., RunFolder]:
    """A run of known documents, given without their separators, and one held out of each source; phase 1 reads all."""

    def make(sources: dict[str, Documents], packed: bool = False) -> RunFolder:
        run = RunFolder(tmp_path / "run")
        ended = {name: [[*text, SEPARATOR] for text in documents] for name, documents in sources.items()}
        receipts = {name: _write_source(run, name, documents) for name, documents in ended.items()}
        heldout = {name: {"domain": "any", **receipt["heldout"]} for name, receipt in receipts.items()}
        write_json(run.heldout / "receipt.json", sealed({"sources": heldout}))
        _write_phase(run, receipts, packed)
        return run

    return make


def _write(prefix: Path, documents: Documents, dtype: str) -> None:
    with ShardWriter(prefix, np.dtype(dtype)) as shard:
        for document in documents:
            shard.append(np.array(document), np.array([len(document)]))


def _write_source(run: RunFolder, name: str, documents: Documents) -> dict[str, Any]:
    folder = run.shards / name
    folder.mkdir(parents=True)
    run.heldout.mkdir(exist_ok=True)
    (run.heldout / f"{name}.jsonl").write_text('{"text": "nine"}\n')
    receipt = {
        "source": name,
        **_write_account(folder / "documents", documents),
        "dtype": "uint16",
        "separator_id": SEPARATOR,
        "vocab_size": VOCABULARY,
        "heldout": _write_account(run.heldout / name, [[9, SEPARATOR]]),
    }
    write_json(folder / "receipt.json", sealed(receipt))
    return receipt


def _write_account(prefix: Path, documents: Documents) -> dict[str, Any]:
    """Write a pair; returns what a receipt says of it and of other files of its name."""
    _write(prefix, documents, "<u2")
    tokens = sum(map(len, documents))
    files = {path.name: file_digest(path) for path in sorted(prefix.parent.glob(f"{prefix.name}.*"))}
    return {"documents": len(documents), "tokens": tokens, "bytes": 2 * tokens, "files": files}


def _write_phase(run: RunFolder, receipts: dict[str, Any], packed: bool) -> None:
    folder = run.phase(1)
    folder.mkdir(parents=True)
    samples, rows, files = {}, [], {}
    for name, receipt in receipts.items():
        prefix, shard = folder / name, run.shards / name / "documents"
        if packed:
            packs = np.full((4, SEQUENCE), -1)
            packs[:, :5] = [5, 6, SEPARATOR, 7, SEPARATOR]
            _write(prefix, packs.tolist(), "<i4")
            samples[name] = len(packs)
            files[data_file(prefix).name] = file_digest(data_file(prefix))
        else:
            index = read_index(shard)
            write_index(prefix, index.dtype, index.lengths[::-1], index.pointers[::-1])
            data_file(prefix).symlink_to(f"../../shards/{name}/documents.bin")
            samples[name] = (receipt["tokens"] - 1) // SEQUENCE
        files[index_file(prefix).name] = file_digest(index_file(prefix))
        rows.append({key: receipt[key] for key in ("source", "documents", "tokens")})
    blend = {
        "prefixes": list(receipts),
        "samples": samples,
        "samples_total": sum(samples.values()),
        "sequence_length": SEQUENCE,
        "global_batch_size": 1,
        "iterations": 1,
        "separator_id": SEPARATOR,
        "vocab_size": VOCABULARY,
        "slices": files,
        "shards": {name: receipt["files"] for name, receipt in receipts.items()},
        "packing": "best_fit" if packed else "concatenate",
    }
    write_json(folder / "blend.json", sealed(blend))
    files = {**files, "blend.json": hashlib.sha256((folder / "blend.json").read_bytes()).hexdigest()}
    write_json(folder / "manifest.json", sealed({"files": files, "table": {"number": 1, "sources": rows}}))
