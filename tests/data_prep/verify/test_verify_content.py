"""Datasets that nobody vouches for: tokens and document ends across blocks, against a plain reading."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_prep.indexed import HEADER, MAGIC, VERSION
from data_prep.verify import content
from data_prep.verify.check import check

WriteDataset = Callable[..., Path]
same_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
documents = st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=9), min_size=1, max_size=20)


def found(prefix: Path, **options: int) -> dict[str, int]:
    """How often each check of the full mode failed, warnings included."""
    report = check(prefix, full=True, **options)
    return {problem.check: int(problem.found.split()[0]) for problem in report.problems + report.warnings}


@same_folder
@given(
    texts=documents, block=st.sampled_from([8, 16, 24, 1 << 20]), dtype=st.sampled_from(["<u2", "<i4", "<i8", "<u1"])
)
def test_every_token_and_every_end_is_judged(
    write_dataset: WriteDataset, texts: list[list[int]], block: int, dtype: str
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(content, "BLOCK", block)
        prefix = write_dataset(texts, dtype)
        expected = {
            "tokens": sum(token >= 8 for text in texts for token in text),
            "separator": sum(text[-1] != 0 for text in texts),
            "inner_separator": sum(text[:-1].count(0) for text in texts),
        }
        assert found(prefix, vocab_size=8, separator_id=0) == {name: count for name, count in expected.items() if count}


def test_a_separator_inside_is_a_warning_where_no_receipt_says_otherwise(write_dataset: WriteDataset) -> None:
    report = check(write_dataset([[1, 0, 2, 0]]), full=True, separator_id=0)
    assert not report.problems
    assert [warning.check for warning in report.warnings] == ["inner_separator"]


def test_what_is_not_known_is_not_checked(write_dataset: WriteDataset) -> None:
    prefix = write_dataset([[9, 60_000], [1]])
    assert found(prefix) == {}
    assert found(prefix, separator_id=1) == {"separator": 1}
    assert found(prefix, vocab_size=100) == {"tokens": 1}


def test_a_negative_token_is_wrong_in_every_vocabulary(write_dataset: WriteDataset) -> None:
    assert found(write_dataset([[5, -1], [-7]], "<i4")) == {"tokens": 2}


@pytest.mark.parametrize("modes", [b"", b"\0\0\0"])
def test_documents_of_several_sequences_end_with_their_last(tmp_path: Path, modes: bytes) -> None:
    """Three sequences, in a document of two, one of none and one of one; with or without multimodal modes."""
    np.array([5, 6, 7, 0, 8, 0], "<u2").tofile(tmp_path / "other.bin")
    lists = struct.pack("<3i3q4q", 2, 2, 2, 0, 4, 8, 0, 2, 2, 3) + modes
    (tmp_path / "other.idx").write_bytes(HEADER.pack(MAGIC, VERSION, 8, 3, 4) + lists)
    for path in ("other", "other.bin", "other.idx"):
        assert found(tmp_path / path, vocab_size=9, separator_id=0) == {}
    assert found(tmp_path / "other", separator_id=6) == {"separator": 2, "inner_separator": 1}


@pytest.mark.parametrize(
    ("boundaries", "said"), [((0, 2, 1, 3), "document 1 goes from sequence 2 to 1"), ((1, 2, 2, 3), "from 0 to 3")]
)
def test_documents_out_of_order_are_named(tmp_path: Path, boundaries: tuple[int, ...], said: str) -> None:
    np.array([5, 6, 7, 0, 8, 0], "<u2").tofile(tmp_path / "other.bin")
    lists = struct.pack("<3i3q4q", 2, 2, 2, 0, 4, 8, *boundaries)
    (tmp_path / "other.idx").write_bytes(HEADER.pack(MAGIC, VERSION, 8, 3, 4) + lists)
    problem = check(tmp_path / "other").problems[0]
    assert problem.check == "documents"
    assert said in problem.found


@pytest.mark.slow  # importing Megatron takes 6 s
def test_what_megatron_writes_is_sound(tmp_path: Path) -> None:
    import torch
    from megatron.core.datasets.indexed_dataset import IndexedDatasetBuilder

    for multimodal in (False, True):
        prefix = tmp_path / f"theirs_{multimodal}"
        builder = IndexedDatasetBuilder(f"{prefix}.bin", dtype=np.int32, multimodal=multimodal)
        for lengths in ([2, 1], [], [3]):
            modes = [1] * len(lengths) if multimodal else None
            builder.add_document(torch.tensor([7] * max(0, sum(lengths) - 1) + [0] * bool(lengths)), lengths, modes)
        builder.finalize(f"{prefix}.idx")
        assert found(prefix, vocab_size=8, separator_id=0) == {}
        assert found(prefix, separator_id=1) == {"separator": 2}
