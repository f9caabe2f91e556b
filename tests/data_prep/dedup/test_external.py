"""Buckets on disk: all records come back, grouped, whatever the number of buckets and writers."""

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.dedup.external import BYTES_PER_RECORD, BucketWriter, bucket_bits, read_bucket

KEYS = st.lists(st.integers(0, 3) | st.integers(2**64 - 3, 2**64 - 1) | st.integers(0, 2**64 - 1))


@settings(max_examples=20)
@given(KEYS, st.integers(1, 6), st.integers(1, 4), st.integers(64, 2_000), st.integers(1, 7))
def test_records_come_back_in_order(keys: list[int], bits: int, writers: int, memory: int, block: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folders = [Path(name, str(number)) for number in range(writers)]
        runs = np.array_split(np.arange(len(keys)), writers)
        for folder, run in zip(folders, runs, strict=True):
            with BucketWriter(folder, bits, memory) as writer:
                for start in range(0, len(run), block):
                    positions = run[start : start + block]
                    writer.add(np.array([keys[position] for position in positions], np.uint64), positions)
        found = np.concatenate([read_bucket(folders, bucket) for bucket in range(1 << bits)])
    expected = sorted((key, position) for position, key in enumerate(keys))
    assert [tuple(record) for record in found.tolist()] == expected


@given(st.integers(0, 10**11), st.integers(10**6, 10**10))
def test_an_average_bucket_fits(records: int, memory: int) -> None:
    bits = bucket_bits(records, memory)
    assert bits >= 1
    assert records / 2**bits * BYTES_PER_RECORD <= memory / 2
    assert bits == 1 or records / 2 ** (bits - 1) * BYTES_PER_RECORD > memory / 2
