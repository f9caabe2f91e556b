"""Whatever happens to the bytes of a file: nothing raises, and missing documents are counted and named."""

import gzip
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

TEXTS = [f"satır {number} ğüşiöç" for number in range(600)]
TABLE = pa.table({"id": list(range(600)), "text": TEXTS})
ROWS = "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in TEXTS).encode()
TRIALS = 40


def truncate(content: bytearray, draw: random.Random) -> None:
    del content[draw.randrange(len(content)) :]


def flip(content: bytearray, draw: random.Random) -> None:
    content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)


def zero_tail(content: bytearray, draw: random.Random) -> None:
    begin = draw.randrange(len(content))
    content[begin:] = bytes(len(content) - begin)


@pytest.fixture(params=["a.jsonl", "a.jsonl.gz", "a.jsonl.zst", "a.parquet", "data/a.arrow"])
def path(request: pytest.FixtureRequest, tmp_path: Path, write_arrow: Callable[..., None]) -> Path:
    path: Path = tmp_path / request.param
    if path.suffix == ".parquet":
        parquet.write_table(TABLE, path, row_group_size=100)
    elif path.suffix == ".arrow":
        write_arrow(path, TABLE, 100)
        (path.parent / "state.json").write_text(json.dumps({"_data_files": [{"filename": path.name}]}))
    else:
        packed = {".gz": gzip.compress, ".zst": lambda rows: pa.compress(rows, codec="zstd", asbytes=True)}
        path.write_bytes(packed.get(path.suffix, bytes)(ROWS))
    return path


@pytest.mark.parametrize("harm", [truncate, flip, zero_tail])
@pytest.mark.parametrize("size", [2_000, 10**9])
def test_what_is_lost_is_counted_and_named(
    path: Path, read_source: Callable[..., Any], harm: Callable[[bytearray, random.Random], None], size: int
) -> None:
    whole, draw = path.read_bytes(), random.Random(1)
    asked: dict[str, Any] = {"dataset": "data"} if path.suffix == ".arrow" else {}
    for trial in range(TRIALS):
        content = bytearray(whole)
        harm(content, draw)
        path.write_bytes(content)
        found = read_source(*([] if asked else [path.name]), size=size, **asked)
        ends_with_a_row = path.suffix == ".jsonl" and harm is truncate and content[-1:] in (b"}", b"\n", b"")
        assert len(found.texts) == len(TEXTS) or found.places or ends_with_a_row, f"trial {trial}"
        assert all(file.endswith(path.name) and line > 0 for _, file, line in found.places)
