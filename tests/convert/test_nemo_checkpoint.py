import json
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.distributed.checkpoint.metadata import ChunkStorageMetadata, Metadata

from convert.mapping import Slot, slots
from convert.nemo_checkpoint import NemoCheckpoint
from convert.nemo_writer import DataFile, write_checkpoint
from recipes.errors import UserError
from recipes.shape import Qwen3Shape


def random_slots(shape: Qwen3Shape) -> list[tuple[Slot, Tensor]]:
    torch.manual_seed(0)
    return [(slot, torch.randn(slot.megatron_size(shape)[0 if slot.layer is None else 1 :])) for slot in slots(shape)]


@pytest.fixture
def checkpoint(tmp_path: Path, shape: Qwen3Shape) -> Path:
    folder = tmp_path / "step=7"
    folder.mkdir()
    write_checkpoint(folder, random_slots(shape), shape.num_hidden_layers)
    return folder


@pytest.mark.parametrize("local_names", [False, True])
def test_reads_what_was_written_under_both_namings(tmp_path: Path, shape: Qwen3Shape, local_names: bool) -> None:
    written = random_slots(shape)
    write_checkpoint(tmp_path, written, shape.num_hidden_layers, local_names)
    source = NemoCheckpoint(tmp_path)
    assert ("decoder.layers.input_layernorm.weight" in source.model_keys()) is local_names
    assert all(torch.equal(source.read(slot), tensor) for slot, tensor in written)
    assert all(source.size(slot) == slot.megatron_size(shape) for slot, _ in written)


@pytest.mark.parametrize("layers_per_chunk", [1, 2, 3])
@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_reads_any_parallel_layout_and_ignores_optimizer_state(
    checkpoint: Path, shape: Qwen3Shape, layers_per_chunk: int, ranks: int
) -> None:
    """Chunks as pipeline stages and tensor-parallel ranks cut them, in several files."""
    slot = next(slot for slot in slots(shape) if slot.layer == 2)
    whole = torch.randn(slot.megatron_size(shape))
    entries, places = {}, {}
    for rank, part in enumerate(whole.chunk(ranks, dim=1)):
        name = f"__{rank}_0.distcp"
        with (checkpoint / "weights" / name).open("wb") as stream:
            file = DataFile(stream, name, entries, places)
            for first in range(0, 3, layers_per_chunk):
                row = sum(len(before[0]) for before in whole.chunk(ranks, dim=1)[:rank])
                chunk = part[first : first + layers_per_chunk]
                file.add(f"module.{slot.keys[0]}", chunk, whole.shape, [first, row, 0])
            file.add(f"optimizer.state.exp_avg.module.{slot.keys[0]}", torch.ones(2), [2], [0])
    stored = pickle.loads((checkpoint / "weights" / ".metadata").read_bytes())
    merged = Metadata({**stored.state_dict_metadata, **entries}, storage_data={**stored.storage_data, **places})
    (checkpoint / "weights" / ".metadata").write_bytes(pickle.dumps(merged))
    source = NemoCheckpoint(checkpoint)
    assert torch.equal(source.read(slot), whole[2])
    assert not any("exp_avg" in key for key in source.model_keys())


def test_half_written_checkpoints_are_refused(checkpoint: Path) -> None:
    marker = checkpoint.with_name("step=7-unfinished")
    marker.touch()
    with pytest.raises(UserError, match="was interrupted"):
        NemoCheckpoint(checkpoint)
    marker.unlink()
    (checkpoint / "weights" / "metadata.json").rename(checkpoint / "away")
    with pytest.raises(UserError, match="give a whole NeMo checkpoint"):
        NemoCheckpoint(checkpoint)
    (checkpoint / "weights" / "metadata.json").write_text(json.dumps({"sharded_backend": "zarr"}))
    with pytest.raises(UserError, match="found 'zarr'"):
        NemoCheckpoint(checkpoint)
    with pytest.raises(UserError, match="no such checkpoint"):
        NemoCheckpoint(checkpoint / "nowhere")


def test_damaged_data_is_one_sentence(checkpoint: Path, shape: Qwen3Shape) -> None:
    data = checkpoint / "weights" / "__0_0.distcp"
    slot = next(iter(slots(shape)))
    data.write_bytes(data.read_bytes()[:500])
    with pytest.raises(UserError, match="cannot be read"):
        NemoCheckpoint(checkpoint).read(slot)
    data.unlink()
    with pytest.raises(UserError, match="cannot be read"):
        NemoCheckpoint(checkpoint).read(slot)


def test_a_missing_chunk_is_noticed(checkpoint: Path, shape: Qwen3Shape) -> None:
    path = checkpoint / "weights" / ".metadata"
    stored = pickle.loads(path.read_bytes())
    slot = next(slot for slot in slots(shape) if slot.layer == 1)
    del stored.state_dict_metadata["module." + slot.keys[0]].chunks[1]
    path.write_bytes(pickle.dumps(stored))
    with pytest.raises(UserError, match="is incomplete"):
        NemoCheckpoint(checkpoint).read(slot)


def test_iteration_comes_from_the_trainers_state(checkpoint: Path) -> None:
    assert NemoCheckpoint(checkpoint).iteration is None
    torch.save({"global_step": 12}, checkpoint / "weights" / "common.pt")
    assert NemoCheckpoint(checkpoint).iteration == 12


def test_a_damaged_chunk_is_one_sentence(tmp_path: Path, shape: Qwen3Shape) -> None:
    tensor = torch.ones(next(iter(slots(shape))).megatron_size(shape))
    (tmp_path / "nemo").mkdir()
    write_checkpoint(tmp_path / "nemo", [(next(iter(slots(shape))), tensor)], shape.num_hidden_layers)
    data = tmp_path / "nemo" / "weights" / "__0_0.distcp"
    content = data.read_bytes()
    for damaged in (b"Q" + content[1:], content[:100], bytes(len(content))):
        data.write_bytes(damaged)
        with pytest.raises(UserError, match="cannot be read"):
            NemoCheckpoint(tmp_path / "nemo").read(next(iter(slots(shape))))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a device that is always full")
def test_a_disk_that_fills_up_inside_a_tensor_is_an_error_of_the_disk() -> None:
    with Path("/dev/full").open("wb", buffering=0) as stream, pytest.raises(OSError, match="No space left"):
        DataFile(stream, "data").add("key", torch.ones(10_000), [10_000], [0])


STRANGE = {
    "sparse": lambda size: torch.ones(size).to_sparse(),
    "meta": lambda size: torch.ones(size, device="meta"),
    "nested": lambda size: torch.nested.nested_tensor([torch.ones(size[1:])]),
    "another dtype": lambda size: torch.ones(size, dtype=torch.float64),
    "another size": lambda size: torch.ones([*size, 1]),
    "no tensor": lambda size: size,
}


@pytest.mark.parametrize("kind", STRANGE)
def test_what_is_no_plain_tensor_is_one_sentence(tmp_path: Path, kind: str) -> None:
    key, size = "module.embedding.word_embeddings.weight", [300, 40]
    (tmp_path / "weights").mkdir()
    with (tmp_path / "weights" / "__0_0.distcp").open("wb") as stream:
        data = DataFile(stream, "__0_0.distcp")
        data.add(key, torch.ones(size), size, [0, 0])
        start = stream.tell()
        torch.save(STRANGE[kind](size), stream)
        ((index, place),) = data.places.items()
        data.places[index] = replace(place, offset=start, length=stream.tell() - start)
    (tmp_path / "weights" / ".metadata").write_bytes(pickle.dumps(Metadata(data.entries, storage_data=data.places)))
    (tmp_path / "weights" / "metadata.json").write_text(json.dumps({"sharded_backend": "torch_dist"}))
    with pytest.raises(UserError, match=rf"{key} (is not what its metadata states|cannot be read \(.*\)); use another"):
        NemoCheckpoint(tmp_path).region(key, ChunkStorageMetadata(torch.Size([0, 0]), torch.Size(size)))
