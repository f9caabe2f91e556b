"""Averages of checkpoints, read back with torch's own reader; and a training that goes on from one."""

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as torch_checkpoint
import yaml
from tiny_run import metrics, tiny_cluster, tiny_data, tiny_recipe, train
from torch import Tensor
from torch.distributed.checkpoint.metadata import Metadata

from convert.average import average
from convert.combine import Combination
from convert.mapping import slots
from convert.nemo_checkpoint import NemoCheckpoint, NemoWeights
from convert.nemo_writer import DataFile
from recipes.artifacts import read_json
from recipes.errors import UserError
from recipes.layout import RunFolder
from recipes.shape import Qwen3Shape

Tensors = dict[str, Tensor]
STATE = "module.decoder.final_layernorm._extra_state/shard_0_1"
BUCKET = "optimizer.distributed.dp_group_idx_0.gbuf_idx_0.dtype_(torch.bfloat16, torch.float32).bucket_idx_0.exp_avg"


def trained(shape: Qwen3Shape, step: int, dtype: torch.dtype = torch.bfloat16, optimizer: bool = True) -> Tensors:
    """The tensors of a checkpoint as Megatron-Core names them."""
    random = torch.Generator().manual_seed(step)
    sizes = {f"module.{slot.keys[0]}": slot.megatron_size(shape) for slot in slots(shape)}
    tensors = {key: torch.randn(size, generator=random).to(dtype) for key, size in sizes.items()}
    for key, size in sizes.items() if optimizer else ():
        tensors[f"optimizer.state.param.{key}"] = torch.randn(size, generator=random)
        tensors[f"optimizer.state.exp_avg.{key}"] = torch.randn(size, generator=random)
        tensors[f"optimizer.state.exp_avg_sq.{key}"] = torch.randn(size, generator=random) ** 2
    return tensors


def write(folder: Path, tensors: Tensors, step: int, pieces: int = 1) -> Path:
    """A checkpoint as `pieces` ranks write it, each with its rows (or layers) in a file of its own."""
    weights = folder / "weights"
    weights.mkdir(parents=True)
    entries, places = {}, {}
    for rank in range(pieces):
        with (weights / f"__{rank}_0.distcp").open("wb") as stream:
            data = DataFile(stream, f"__{rank}_0.distcp", entries, places)
            for key, tensor in tensors.items():
                cuts = tensor.tensor_split(pieces)
                if len(cuts[rank]):
                    first = sum(len(cut) for cut in cuts[:rank])
                    data.add(key, cuts[rank], tensor.shape, [first] + [0] * (tensor.dim() - 1))
            if rank == 0:
                data.add_object(STATE, step)
    (weights / ".metadata").write_bytes(pickle.dumps(Metadata(entries, storage_data=places)))
    torch.save({"global_step": step, "optimizer": [{"step": step}], "lr_schedulers": [step]}, weights / "common.pt")
    (weights / "metadata.json").write_text(json.dumps({"sharded_backend": "torch_dist"}))
    return folder


def read(folder: Path) -> dict[str, Any]:
    """Everything sharded, through torch's own planner and reader."""
    reader = torch_checkpoint.FileSystemReader(folder / "weights")
    stored = reader.read_metadata().state_dict_metadata
    state: dict[str, Any] = {
        key: torch.empty(entry.size, dtype=entry.properties.dtype) if hasattr(entry, "size") else None
        for key, entry in stored.items()
    }
    torch_checkpoint.load(state, storage_reader=reader, no_dist=True)
    return state


def common(folder: Path) -> dict[str, Any]:
    return torch.load(folder / "weights" / "common.pt", weights_only=True)


@pytest.mark.parametrize(
    ("pieces", "dtype", "decay", "weights"),
    [
        ((1, 2, 3), torch.bfloat16, None, (1 / 3, 1 / 3, 1 / 3)),
        ((3, 1, 2), torch.float32, 0.75, (0.5625, 0.1875, 0.25)),
    ],
)
def test_weights_and_optimizer_are_averaged_whatever_the_layouts(
    tmp_path: Path,
    shape: Qwen3Shape,
    pieces: tuple[int, ...],
    dtype: torch.dtype,
    decay: float | None,
    weights: tuple[float, ...],
) -> None:
    stored = [trained(shape, step, dtype) for step in (1, 2, 3)]
    folders = [write(tmp_path / f"{n}", stored[n], n + 1, pieces[n]) for n in range(3)]
    manifest = average(folders, tmp_path / "out", decay=decay)
    found = read(tmp_path / "out")
    assert found.keys() == stored[0].keys() | {STATE}
    for key, newest in stored[2].items():
        terms = [weight * tensors[key].double() for weight, tensors in zip(weights, stored, strict=True)]
        expected = (terms[0] + terms[1] + terms[2]).to(newest.dtype)
        assert found[key].dtype == newest.dtype
        torch.testing.assert_close(found[key], expected, rtol=torch.finfo(newest.dtype).eps, atol=1e-6)
        assert "exp_avg_sq" not in key or (found[key] >= 0).all()
    assert [term["coefficient"] for term in manifest["combination"]["terms"]] == list(weights)
    assert manifest["combination"]["method"] == ("ema" if decay else "average")
    assert manifest["optimizer"]


def test_the_newest_gives_what_cannot_be_averaged(tmp_path: Path, shape: Qwen3Shape) -> None:
    tensors = trained(shape, 1) | {"optimizer.rng": torch.arange(5)}
    older = write(tmp_path / "older", tensors, 4)
    newer = write(tmp_path / "newer", tensors | {"optimizer.rng": torch.arange(5) + 9}, 8)
    (newer / "context").mkdir()
    (newer / "context" / "io.json").write_text("{}")
    manifest = average([older, newer], tmp_path / "out")
    found = read(tmp_path / "out")
    assert found[STATE] == [8]
    assert found["optimizer.rng"].tolist() == [9, 10, 11, 12, 13]
    assert common(tmp_path / "out") == common(newer)
    assert (tmp_path / "out" / "context" / "io.json").read_text() == "{}"
    assert NemoCheckpoint(tmp_path / "out").iteration == manifest["iteration"] == 8
    assert read_json(tmp_path / "out" / "conversion.json") == manifest


@pytest.mark.parametrize("wanted", [True, False])
def test_optimizer_state_is_left_out_whole(tmp_path: Path, shape: Qwen3Shape, wanted: bool) -> None:
    first = write(tmp_path / "first", trained(shape, 1, optimizer=not wanted), 1)
    second = write(tmp_path / "second", trained(shape, 2), 2)
    assert not average([first, second], tmp_path / "out", optimizer=wanted)["optimizer"]
    assert read(tmp_path / "out").keys() == trained(shape, 1, optimizer=False).keys() | {STATE}
    assert common(tmp_path / "out") == {"global_step": 2}


@pytest.mark.parametrize(("dtype", "decay"), [(torch.bfloat16, 0.6), (torch.float32, None)])
def test_the_weights_are_bit_by_bit_those_of_the_combination(
    tmp_path: Path, shape: Qwen3Shape, dtype: torch.dtype, decay: float | None
) -> None:
    folders = [write(tmp_path / f"{step}", trained(shape, step, dtype), step) for step in (1, 2, 3)]
    average(folders, tmp_path / "out", decay=decay)
    models = [NemoWeights(folder, shape) for folder in folders]
    combined = Combination.average(models) if decay is None else Combination.ema(models, decay)
    averaged = NemoWeights(tmp_path / "out", shape)
    for slot in slots(shape):
        expected, found = combined.parts(slot), averaged.parts(slot)
        assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def test_buckets_may_hold_anything_between_parameters(tmp_path: Path, shape: Qwen3Shape) -> None:
    bucket = torch.tensor([1.0, torch.nan, 3.0])
    tensors = trained(shape, 1, optimizer=False)
    folders = [write(tmp_path / f"{n}", tensors | {BUCKET: bucket * n}, n) for n in (1, 3)]
    average(folders, tmp_path / "out")
    assert read(tmp_path / "out")[BUCKET].tolist() == pytest.approx([2.0, torch.nan, 6.0], nan_ok=True)
    other = write(tmp_path / "other_layout", tensors | {BUCKET: bucket}, 5, pieces=2)
    with pytest.raises(UserError, match=r"is of another parallel layout than .*; average the weights alone"):
        average([other, *folders], tmp_path / "again")
    assert not average([other, *folders], tmp_path / "again", optimizer=False)["optimizer"]


def nan(tensors: Tensors) -> None:
    tensors["module.decoder.final_layernorm.weight"][0] = torch.nan


def infinite_moment(tensors: Tensors) -> None:
    tensors["optimizer.state.exp_avg_sq.module.output_layer.weight"][0, 0] = torch.inf


def missing(tensors: Tensors) -> None:
    del tensors["module.output_layer.weight"]


def longer(tensors: Tensors) -> None:
    tensors["module.embedding.word_embeddings.weight"] = torch.ones(384, 40)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (nan, r"first: module\.decoder\.final_layernorm\.weight holds NaN or infinity; leave this checkpoint out"),
        (infinite_moment, r"first: optimizer\.state\.exp_avg_sq\.module\.output_layer\.weight holds NaN or infinity"),
        (missing, r"first: it has no module\.output_layer\.weight, which .*second has; give checkpoints of one run"),
        (longer, r"first: module\.embedding\.word_embeddings\.weight is \[384, 40\], but .*second has \[300, 40\]"),
    ],
)
def test_what_cannot_be_averaged_is_refused(
    tmp_path: Path, shape: Qwen3Shape, damage: Callable[[Tensors], None], said: str
) -> None:
    tensors = trained(shape, 1)
    damage(tensors)
    folders = [write(tmp_path / "first", tensors, 1), write(tmp_path / "second", trained(shape, 2), 2)]
    with pytest.raises(UserError, match=said):
        average(folders, tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"first", "second"}


def test_a_missing_chunk_and_an_occupied_target_are_refused(tmp_path: Path, shape: Qwen3Shape) -> None:
    folder = write(tmp_path / "one", trained(shape, 1), 1, pieces=2)
    with pytest.raises(UserError, match="the target is not an empty folder"):
        average([folder], folder)
    path = folder / "weights" / ".metadata"
    stored = pickle.loads(path.read_bytes())
    del stored.state_dict_metadata["optimizer.state.param.module.output_layer.weight"].chunks[1]
    path.write_bytes(pickle.dumps(stored))
    with pytest.raises(UserError, match=r"param\.module\.output_layer\.weight is incomplete"):
        average([folder], tmp_path / "out")


def test_what_the_disk_changed_is_noticed(tmp_path: Path, shape: Qwen3Shape, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(tmp_path / "one", trained(shape, 1), 1)
    add = DataFile.add
    monkeypatch.setattr(DataFile, "add", lambda self, key, chunk, *place: add(self, key, chunk + 1, *place))
    with pytest.raises(UserError, match="reads back other than it was written"):
        average([folder], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """One phase of eight iterations, trained to its end, with the checkpoints 3, 6 and 8 kept."""
    folder = tmp_path_factory.mktemp("run")
    tiny_data(run := RunFolder(folder / "run"), phases=1)
    recipe = tiny_recipe(folder / "tiny.yaml", phases=1)
    fields = yaml.safe_load(recipe.read_text())
    fields["checkpoint"]["keep_last"] = 3
    recipe.write_text(yaml.safe_dump(fields))
    train(recipe, tiny_cluster(folder / "one.yaml", 1), run, "1")
    return run


@pytest.mark.long
@pytest.mark.parametrize("averaged", [(6, 6), (3, 6)])
def test_training_goes_on_from_an_average(run: RunFolder, tmp_path: Path, averaged: tuple[int, int]) -> None:
    """From the average of a checkpoint with itself it goes on as if nothing had been, the optimizer included."""
    shutil.copytree(run.root.parent, tmp_path / "copy")
    copy = RunFolder(tmp_path / "copy" / "run")
    shutil.rmtree(copy.checkpoints(1))
    sources = [run.checkpoints(1) / f"iteration_{step:07}" for step in averaged]
    average(sources, copy.checkpoints(1) / "iteration_0000006")
    copy.metrics.unlink()
    train(tmp_path / "copy" / "tiny.yaml", tmp_path / "copy" / "one.yaml", copy, "1")
    found, undisturbed = metrics(copy, 1), metrics(run, 1)[6:]
    assert [line["iteration"] for line in found] == [7, 8]
    assert [line["lr"] for line in found] == [line["lr"] for line in undisturbed]
    if averaged == (6, 6):
        assert found == undisturbed
    else:
        assert [line["loss"] for line in found] == pytest.approx([line["loss"] for line in undisturbed], rel=0.05)
        assert found[0]["loss"] != undisturbed[0]["loss"]
