"""Megatron's index files of a phase, built once and whole:  python -m recipes.engine.build_cache RUN --phase 2

They lie in `phases/<n>/cache/<key>`. The key is what they were computed from, so that files of other data are never
found; the folder arrives in one rename, so that what a killed build left is never found either. Upstream writes them
in place, keyed by path, and takes any file that is there for whole.
"""

import argparse
import contextlib
import importlib.metadata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from megatron.core.datasets.blended_dataset import BlendedDataset
from megatron.core.datasets.gpt_dataset import GPTDatasetConfig
from megatron.core.datasets.utils import Split

from recipes.artifacts import atomic_folder, digest, file_digest, matching_receipt, write_json
from recipes.blend import Blend, load_blend
from recipes.engine.dataset import ShardDataset, dataset_config
from recipes.errors import UserError
from recipes.layout import RunFolder
from recipes.terminal import run_command

_RECEIPT = "cache.json"


def cache_folder(folder: Path, blend: Blend) -> Path:
    """Where the index files of the phase in `folder` lie: named after the blend and the version of Megatron-Core."""
    return folder / "cache" / digest([importlib.metadata.version("megatron-core"), blend.model_dump()])[:16]


def ensure_cache(folder: Path, blend: Blend) -> Path:
    """The folder of the phase's index files, built if it is not there whole. No slice is read if it is.

    Raises:
        UserError: a slice is not the one that blend.json names, or the folder cannot be written.
    """
    cache = cache_folder(folder, blend)
    receipt = _whole(cache)
    if receipt is None:
        with contextlib.suppress(_BuiltMeanwhile):
            _build(folder, blend, cache)
        return cache
    found = _sizes(folder, receipt["slices"])
    for name, size in receipt["slices"].items():
        if found.get(name) != size:
            raise UserError(
                f"{folder / name}: it has {found.get(name, 0)} bytes, and had {size} when its index files were built; "
                f"build the shards and the mixture again."
            )
    return cache


class _BuiltMeanwhile(Exception):
    """Another process has put the same files there; it may be reading them already."""


def _whole(cache: Path) -> dict[str, Any] | None:
    """The receipt of index files that are all there, else None."""
    receipt = matching_receipt(cache / _RECEIPT, cache.name)
    return receipt if receipt and receipt["files"] == _sizes(cache, receipt["files"]) else None


def _build(folder: Path, blend: Blend, cache: Path) -> None:
    _check_slices(folder, blend)
    with _process_group(), atomic_folder(cache) as partial:
        config = dataset_config(folder, blend, partial)
        datasets = [_dataset(folder / prefix, config) for prefix in blend.prefixes]
        if len(datasets) > 1:  # as upstream's builder: one slice alone is not blended
            BlendedDataset(datasets, [len(dataset) for dataset in datasets], None, config)
        slices = [f"{prefix}{suffix}" for prefix in blend.prefixes for suffix in (".idx", ".bin")]
        receipt = {
            "inputs": cache.name,
            "files": _sizes(partial, [path.name for path in partial.iterdir()]),
            "slices": _sizes(folder, slices),
        }
        write_json(partial / _RECEIPT, receipt)
        if _whole(cache):
            raise _BuiltMeanwhile


def _dataset(prefix: Path, config: GPTDatasetConfig) -> ShardDataset:
    """All documents of a slice, once; called as upstream's builder calls it, so that it finds the files."""
    tokens = ShardDataset.build_low_level_dataset(str(prefix), config)
    documents = np.arange(ShardDataset.numel_low_level_dataset(tokens), dtype=np.int32)
    return ShardDataset(tokens, str(prefix), documents, None, Split.train, config)


def _check_slices(folder: Path, blend: Blend) -> None:
    for name, sha in blend.slices.items():
        if name.endswith(".idx") and file_digest(folder / name) != sha:
            raise UserError(f"{folder / name}: it is not the slice that blend.json names; rebuild the mixture.")


def _sizes(folder: Path, names: Any) -> dict[str, int]:
    """Bytes of each file that is there; links are followed."""
    return {name: (folder / name).stat().st_size for name in names if (folder / name).is_file()}


@contextlib.contextmanager
def _process_group() -> Iterator[None]:
    """BlendedDataset writes on rank 0 only, and asks for the rank even where there is one process."""
    if torch.distributed.is_initialized():
        yield
        return
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()


def main() -> None:
    parser = argparse.ArgumentParser(description="Build Megatron's index files of phases whose mixtures are there.")
    parser.add_argument("run", type=Path, help="the run folder")
    parser.add_argument("--phase", type=int, action="append", required=True, help="number from 1; may be repeated")
    arguments = parser.parse_args()
    run = RunFolder(arguments.run)
    for number in arguments.phase:
        print(ensure_cache(run.phase(number), load_blend(run, number)))


if __name__ == "__main__":
    run_command(main)
