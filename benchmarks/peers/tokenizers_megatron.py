"""Hugging Face `tokenizers` in a pool of processes, and Megatron-Core's own `IndexedDatasetBuilder`."""

import json
import multiprocessing
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy
import torch
from megatron.core.datasets.indexed_dataset import IndexedDatasetBuilder
from tokenizers import Tokenizer

loaded: list[Tokenizer] = []


def load(path: str) -> None:
    loaded.append(Tokenizer.from_file(path))


def encode(line: bytes) -> list[int]:
    ids = loaded[0].encode(json.loads(line)["text"], add_special_tokens=False).ids
    return [*ids, loaded[0].token_to_id("<|endoftext|>")]


def lines(files: list[str]) -> Iterator[bytes]:
    for file in files:
        with Path(file).open("rb") as stream:
            yield from stream


if __name__ == "__main__":
    tokenizer, target, workers, *files = sys.argv[1:]
    builder = IndexedDatasetBuilder(f"{target}.bin", dtype=numpy.int32)
    with multiprocessing.Pool(int(workers), load, (tokenizer,)) as pool:
        for ids in pool.imap(encode, lines(files), chunksize=32):
            builder.add_item(torch.tensor(ids, dtype=torch.int32))
            builder.end_document()
    builder.finalize(f"{target}.idx")
