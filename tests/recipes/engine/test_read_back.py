"""All four phases of the tiny recipe on the real sample, read back from Megatron's own datasets; and planted errors."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tiny_run import ROOT

from data_prep.bundled import SAMPLE
from data_prep.indexed import Index, data_file, read_index, read_tokens, write_index
from data_prep.mixture import build
from data_prep.packing import pack, write_packed
from recipes.artifacts import file_digest, read_json, write_json
from recipes.layout import RunFolder
from recipes.load import load_recipe

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What reading back says of an honest run, of one with packs, and of dishonest ones; one start of NeMo for all."""
    folder = tmp_path_factory.mktemp("runs")
    honest = RunFolder(folder / "honest")
    build(load_recipe("qwen3_tiny"), SAMPLE, honest)
    changes: dict[str, Callable[[RunFolder], None]] = {
        "packed": build_packed,
        "doubled": list_a_document_twice,
        "again": read_the_slice_of_phase_1_again,
        "leaked": list_a_held_out_document,
        "garbled": change_tokens_of_a_copy,
        "packed_twice": pack_the_same_documents_again,
    }
    for name, change in changes.items():
        shutil.copytree(honest.root, folder / name, symlinks=True)
        change(RunFolder(folder / name))
    script = Path(__file__).with_name("check_read_back.py")
    traps = ("honest=pad_is_separator", "packed=cached_loss_mask")
    command = [sys.executable, str(script), *(str(folder / name) for name in ("honest", *changes, *traps))]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    answer = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return {Path(root).name: found for root, found in json.loads(answer.stdout.splitlines()[-1]).items()}


def test_megatron_delivers_what_was_planned(answers: dict[str, list[str]]) -> None:
    assert answers["honest"] == []


def test_megatron_delivers_packs_whole(answers: dict[str, list[str]]) -> None:
    assert answers["packed"] == []


@pytest.mark.parametrize(
    ("run", "sentence"),
    [
        ("doubled", r"phase 2, laws: document \d+ is read twice in the phase"),
        ("again", r"phase 3, general_tr: document \d+ is read again before document \d+"),
        ("leaked", r"phase 1, laws: tokens \d+ to \d+ are a held-out document"),
        ("garbled", r"phase 4, laws: tokens \d+ to \d+ are no document of the shard"),
        ("packed_twice", r"phase 3, laws: document \d+ is read again before document \d+"),
        ("honest=pad_is_separator", r"phase 1: sample \d+ has tokens without a loss"),
        ("packed=cached_loss_mask", r"phase 1: sample \d+ has padding elsewhere than at its end"),
    ],
)
def test_a_planted_error_is_found(answers: dict[str, list[str]], run: str, sentence: str) -> None:
    assert any(re.fullmatch(sentence, found) for found in answers[run]), answers[run]


def forge(run: RunFolder, phase: int, name: str, index: Index) -> None:
    """Replace a slice, and its digest in blend.json."""
    folder = run.phase(phase)
    write_index(folder / name, index.dtype, index.lengths, index.pointers)
    blend = read_json(folder / "blend.json")
    blend["slices"][f"{name}.idx"] = file_digest(folder / f"{name}.idx")
    write_json(folder / "blend.json", blend)


def list_a_document_twice(run: RunFolder) -> None:
    index = read_index(run.phase(2) / "laws", whole=False)
    twice = np.append(np.arange(len(index.lengths)), index.lengths.argmin())
    forge(run, 2, "laws", Index(index.dtype, index.lengths[twice], index.pointers[twice]))


def read_the_slice_of_phase_1_again(run: RunFolder) -> None:
    forge(run, 3, "general_tr", read_index(run.phase(1) / "general_tr", whole=False))


def list_a_held_out_document(run: RunFolder) -> None:
    shard, held_out = run.shards / "laws" / "documents", read_index(run.heldout / "laws")
    link = data_file(run.phase(1) / "laws")
    link.unlink()
    link.write_bytes(data_file(shard).read_bytes() + data_file(run.heldout / "laws").read_bytes())
    index = read_index(run.phase(1) / "laws", whole=False)
    leak = held_out.lengths.argmin()
    pointers = np.append(index.pointers, data_file(shard).stat().st_size + held_out.pointers[leak])
    forge(run, 1, "laws", Index(index.dtype, np.append(index.lengths, held_out.lengths[leak]), pointers))


def change_tokens_of_a_copy(run: RunFolder) -> None:
    link, shard = data_file(run.phase(4) / "laws"), data_file(run.shards / "laws" / "documents")
    index = read_index(run.phase(4) / "laws", whole=False)
    link.unlink()
    tokens = np.frombuffer(shard.read_bytes(), index.dtype).copy()
    tokens[index.pointers // index.dtype.itemsize] ^= 1
    link.write_bytes(tokens.tobytes())


def build_packed(run: RunFolder) -> None:
    build(load_recipe("qwen3_tiny", [f"phases.{number}.packing=best_fit" for number in range(1, 5)]), SAMPLE, run)
    assert read_json(run.phase(1) / "blend.json")["packing"] == "best_fit"


def pack_the_same_documents_again(run: RunFolder) -> None:
    """Phase 2 packs the laws of phase 3."""
    folder = run.phase(2)
    blend = read_json(folder / "blend.json")
    for name, samples in blend["samples"].items():
        shard = run.shards / name / "documents"
        index = read_index(shard)
        listed = read_index((run.phase(3) if name == "laws" else folder) / name, whole=False)
        documents = np.searchsorted(index.pointers, listed.pointers).astype(np.int32)
        packs = pack(index.lengths[documents], blend["sequence_length"], blend["seed"], samples)
        data_file(folder / name).unlink()
        write_packed(folder / name, read_tokens(shard, index), index, documents, packs)
        blend["slices"][f"{name}.idx"] = file_digest(folder / f"{name}.idx")
    write_json(folder / "blend.json", {**blend, "packing": "best_fit"})
