import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed.checkpoint.metadata import Metadata, TensorProperties, TensorStorageMetadata

from convert.safe_pickle import read_common, read_metadata, read_tensors
from recipes.errors import UserError


class Attack:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> Any:
        return os.system, (self.command,)


@pytest.mark.parametrize("read", [read_metadata, read_common])
def test_code_in_a_pickle_is_refused_and_not_run(tmp_path: Path, read: Any) -> None:
    path, trace = tmp_path / "file", tmp_path / "trace"
    attack = {"state_dict_metadata": Attack(f"touch {trace}")}
    if read is read_common:
        torch.save(attack, path)
    else:
        path.write_bytes(pickle.dumps(Metadata(attack)))
    with pytest.raises(UserError, match="refused"):
        read(path)
    assert not trace.exists()


@pytest.mark.parametrize("global_name", [b"builtins\neval", b"torch\nload", b"torch.hub\nload", b"posix\nsystem"])
def test_no_other_name_is_let_in(tmp_path: Path, global_name: bytes) -> None:
    (tmp_path / "file").write_bytes(b"\x80\x02c" + global_name + b"\n.")
    with pytest.raises(UserError, match="refused"):
        read_metadata(tmp_path / "file")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.uint8])
def test_metadata_comes_back(tmp_path: Path, dtype: torch.dtype) -> None:
    properties = TensorProperties.create_from_tensor(torch.zeros(1, dtype=dtype))
    content = Metadata({"a": TensorStorageMetadata(properties, torch.Size([1]), [])})
    (tmp_path / "file").write_bytes(pickle.dumps(content))
    assert read_metadata(tmp_path / "file") == content


def test_megatrons_own_metadata_class_needs_no_megatron(tmp_path: Path) -> None:
    pickled = pickle.dumps(Metadata({}), protocol=2)
    ours, theirs = (
        b"ctorch.distributed.checkpoint.metadata\nMetadata\n",
        b"cmegatron.core.dist_checkpointing.strategies.torch\nMCoreMetadata\n",
    )
    (tmp_path / "file").write_bytes(pickled.replace(ours, theirs))
    assert read_metadata(tmp_path / "file").state_dict_metadata == {}


@pytest.mark.parametrize(
    "strange",
    [
        torch.ones(3).to_sparse(),
        torch.ones(3, device="meta"),
        torch.nested.nested_tensor([torch.ones(3)]),
        "text",
    ],
)
def test_tensors_without_numbers_in_memory_are_one_sentence(tmp_path: Path, strange: Any) -> None:
    torch.save({"plain": torch.ones(2), "strange": strange}, tmp_path / "file")
    with pytest.raises(UserError, match=r"expected tensors by name, found 'strange'|the file is damaged|refused"):
        read_tensors(tmp_path / "file")


@pytest.mark.parametrize("content", [b"", b"\x80\x02", pickle.dumps({"a": 1})[:-3], b"nonsense"])
def test_damaged_files_are_one_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    for read in (read_metadata, read_common):
        with pytest.raises(UserError):
            read(tmp_path / "file")
    with pytest.raises(UserError, match="does not exist"):
        read_metadata(tmp_path / "absent")
    (tmp_path / "file").write_bytes(pickle.dumps([1]))
    with pytest.raises(UserError, match="expected Metadata, found list"):
        read_metadata(tmp_path / "file")
