"""Round trips, agreement with Megatron's own reader and writer, and every structural check."""

import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_prep.indexed import (
    HEADER,
    IndexedDatasetError,
    ShardWriter,
    data_file,
    index_bytes,
    index_file,
    map_index,
    read_document,
    read_index,
    read_tokens,
    token_dtype,
    write_index,
    write_shard_index,
)

documents = st.lists(st.lists(st.integers(0, 60_000), min_size=1, max_size=40), min_size=1, max_size=30)
same_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=25)


def write_shard(prefix: Path, texts: list[list[int]], dtype: np.dtype, batch: int = 7) -> None:
    with ShardWriter(prefix, dtype) as shard:
        for start in range(0, len(texts), batch):
            part = texts[start : start + batch]
            shard.append(np.concatenate([np.array(text) for text in part]), np.array([len(text) for text in part]))


@pytest.mark.parametrize(
    ("vocab_size", "name"), [(8_192, "uint16"), (65_499, "uint16"), (65_500, "int32"), (151_669, "int32")]
)
def test_dtype_is_the_one_megatron_chooses(vocab_size: int, name: str) -> None:
    assert token_dtype(vocab_size).name == name


@same_folder
@given(texts=documents, wide=st.booleans())
def test_round_trip(tmp_path: Path, texts: list[list[int]], wide: bool) -> None:
    prefix = tmp_path / "a.b"  # a dot in the name is part of it
    write_shard(prefix, texts, token_dtype(151_669 if wide else 65_000))
    index = read_index(prefix)
    tokens = read_tokens(prefix, index)
    assert [read_document(tokens, index, i).tolist() for i in range(len(texts))] == texts
    assert index.tokens == sum(map(len, texts))
    assert index_file(prefix).stat().st_size == index_bytes(len(texts)) == 34 + 8 + 20 * len(texts)


@same_folder
@given(texts=documents, data=st.data())
def test_a_slice_lists_any_documents_in_any_order(tmp_path: Path, texts: list[list[int]], data: st.DataObject) -> None:
    write_shard(tmp_path / "shard", texts, token_dtype(65_000))
    shard = read_index(tmp_path / "shard")
    chosen = np.array(data.draw(st.lists(st.integers(0, len(texts) - 1), min_size=1, max_size=40)))
    link = data_file(tmp_path / "slice")
    link.unlink(missing_ok=True)
    link.symlink_to("shard.bin")
    write_index(tmp_path / "slice", shard.dtype, shard.lengths[chosen], shard.pointers[chosen])
    index = read_index(tmp_path / "slice", whole=False)
    tokens = read_tokens(tmp_path / "slice", index)
    assert [read_document(tokens, index, i).tolist() for i in range(len(chosen))] == [texts[i] for i in chosen]


@pytest.mark.slow  # importing Megatron takes 6 s
def test_megatron_reads_and_writes_the_same_bytes(tmp_path: Path) -> None:
    import torch
    from megatron.core.datasets.indexed_dataset import IndexedDataset, IndexedDatasetBuilder

    @same_folder
    @given(texts=documents, wide=st.booleans())
    def check(texts: list[list[int]], wide: bool) -> None:
        dtype = token_dtype(151_669 if wide else 65_000)
        write_shard(tmp_path / "ours", texts, dtype)
        builder = IndexedDatasetBuilder(str(tmp_path / "theirs.bin"), dtype=np.int32 if wide else np.uint16)
        for text in texts:
            builder.add_document(torch.tensor(text), [len(text)])
        builder.finalize(str(tmp_path / "theirs.idx"))
        for suffix in (".bin", ".idx"):
            assert (tmp_path / f"ours{suffix}").read_bytes() == (tmp_path / f"theirs{suffix}").read_bytes()
        read = IndexedDataset(str(tmp_path / "ours"))
        assert [read[i].tolist() for i in range(len(read))] == texts
        assert read_index(tmp_path / "theirs").tokens == sum(map(len, texts))

    check()


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    write_shard(tmp_path / "shard", [[1, 2, 3], [4], [5, 6]], token_dtype(8_192))
    return tmp_path / "shard"


def patch(path: Path, offset: int, content: bytes) -> None:
    whole = bytearray(path.read_bytes())
    whole[offset : offset + len(content)] = content
    path.write_bytes(bytes(whole))


@pytest.mark.parametrize(
    ("check", "offset", "content"),
    [
        ("magic", 0, b"X"),
        ("version", 9, struct.pack("<Q", 2)),
        ("dtype", 17, b"\x09"),
        ("size", 18, struct.pack("<Q", 4)),
        ("size", 26, struct.pack("<Q", 3)),
        ("lengths", HEADER.size + 4, struct.pack("<i", 0)),
        ("pointers", HEADER.size + 12, struct.pack("<q", -2)),
        ("pointers", HEADER.size + 12 + 16, struct.pack("<q", 10)),
        ("pointers", HEADER.size + 12 + 8, struct.pack("<q", 4)),
        ("documents", HEADER.size + 36, struct.pack("<q", 1)),
        ("documents", HEADER.size + 36 + 8, struct.pack("<q", 2)),
        ("documents", HEADER.size + 36 + 24, struct.pack("<q", 2)),
    ],
)
def test_a_garbled_index_is_named(prefix: Path, check: str, offset: int, content: bytes) -> None:
    patch(index_file(prefix), offset, content)
    with pytest.raises(IndexedDatasetError) as error:
        read_index(prefix)
    assert error.value.check == check
    assert error.value.path == index_file(prefix)
    assert str(index_file(prefix)) in str(error.value)


@pytest.mark.parametrize(
    ("suffix", "size", "check"), [(".idx", 20, "header"), (".idx", 60, "size"), (".bin", 10, "size")]
)
def test_a_truncated_file_is_named(prefix: Path, suffix: str, size: int, check: str) -> None:
    path = prefix.with_name(prefix.name + suffix)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(IndexedDatasetError) as error:
        read_index(prefix)
    assert (error.value.path, error.value.check) == (path, check)


def test_a_longer_bin_is_an_error_for_a_shard_only(prefix: Path) -> None:
    data_file(prefix).write_bytes(data_file(prefix).read_bytes() + b"\0\0")
    assert len(read_index(prefix, whole=False).lengths) == 3
    with pytest.raises(IndexedDatasetError, match="size check"):
        read_index(prefix)


@pytest.mark.parametrize("pointer", [-2, 1, 10, 2**63 - 2])
def test_a_slice_outside_its_bin_is_named(prefix: Path, pointer: int) -> None:
    write_index(prefix, np.dtype("<u2"), np.array([2]), np.array([pointer]))
    with pytest.raises(IndexedDatasetError, match="pointers check"):
        read_index(prefix, whole=False)


def test_documents_of_several_sequences_are_mapped_but_not_read(prefix: Path) -> None:
    lists = struct.pack("<3i3q3q", 3, 1, 2, 0, 6, 8, 0, 2, 3)
    index_file(prefix).write_bytes(HEADER.pack(b"MMIDIDX\0\0", 1, 8, 3, 3) + lists)
    index, boundaries = map_index(prefix)
    assert (index.lengths.tolist(), boundaries.tolist()) == ([3, 1, 2], [0, 2, 3])
    with pytest.raises(IndexedDatasetError, match="documents check"):
        read_index(prefix)


def test_modes_of_a_multimodal_dataset_are_mapped_but_not_read(prefix: Path) -> None:
    index_file(prefix).write_bytes(index_file(prefix).read_bytes() + b"\0" * 3)
    assert map_index(prefix)[0].tokens == 6
    with pytest.raises(IndexedDatasetError, match="size check"):
        read_index(prefix)


def test_memory_does_not_grow_with_the_index(tmp_path: Path) -> None:
    """A temporary of all pointers alone would have 24 MB."""
    lengths = np.full(3_000_000, 1, np.int32)
    pointers = np.arange(len(lengths), dtype=np.int64)
    with data_file(tmp_path / "large").open("wb") as stream:
        stream.truncate(len(lengths))
    tracemalloc.start()
    write_index(tmp_path / "large", np.dtype("<u1"), lengths, pointers)
    read_index(tmp_path / "large")
    read_index(tmp_path / "large", whole=False)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6


@pytest.mark.parametrize("suffix", [".idx", ".bin"])
def test_a_missing_file_is_named(prefix: Path, suffix: str) -> None:
    prefix.with_name(prefix.name + suffix).unlink()
    with pytest.raises(IndexedDatasetError, match="file check"):
        read_index(prefix)


def test_nothing_is_indexed_when_writing_fails(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), ShardWriter(tmp_path / "shard", token_dtype(10)):
        raise RuntimeError
    assert not (tmp_path / "shard.idx").exists()


@given(st.lists(st.integers(1, 2**31 - 1), max_size=20), st.sampled_from(["<i4", "<u2"]))
def test_a_shards_index_is_that_of_its_pointers(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], dtype: str
) -> None:
    folder = tmp_path_factory.mktemp("index")
    tokens = np.array(lengths, np.int64)
    sizes = tokens * np.dtype(dtype).itemsize
    write_index(folder / "a", np.dtype(dtype), tokens, np.cumsum(sizes) - sizes)
    write_shard_index(folder / "b", np.dtype(dtype), tokens.astype(np.int32))
    assert (folder / "a.idx").read_bytes() == (folder / "b.idx").read_bytes()
