"""The index files of a phase: found by content, never half, and mapped without a write."""

import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_run import VOCABULARY, tiny_data

from data_prep.indexed import index_file, token_dtype, write_index
from recipes.artifacts import file_digest, read_json, write_json
from recipes.blend import Blend, load_blend
from recipes.errors import UserError
from recipes.layout import RunFolder

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def engine() -> Any:
    """Imported late: it takes seconds, and the fast tests collect this file too."""
    from recipes.engine import build_cache

    return build_cache


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    run = RunFolder(tmp_path / "run")
    tiny_data(run, phases=1)
    blend = read_json(run.phase(1) / "blend.json")
    slices = {f"{name}.idx": file_digest(run.phase(1) / f"{name}.idx") for name in blend["prefixes"]}
    write_json(run.phase(1) / "blend.json", {**blend, "slices": slices})
    return run


def ensure(engine: Any, run: RunFolder) -> Path:
    return engine.ensure_cache(run.phase(1), load_blend(run, 1))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def read_all(run: RunFolder, blend: Blend, cache: Path) -> list[list[int]]:
    from recipes.engine.dataset import open_dataset

    dataset = open_dataset(run.phase(1), blend, cache)
    return [dataset[number]["tokens"].tolist() for number in range(len(dataset))]


def state(folder: Path) -> dict[Path, tuple[int, int]]:
    return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.rglob("*")}


class Opened:
    """Every file under `folder` that Python opens while this watches; an audit hook cannot be taken away again."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.paths, self.watching = folder, list[tuple[str, bool]](), True
        sys.addaudithook(self._note)

    def _note(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.watching and event == "open" and str(arguments[0]).startswith(str(self.folder)):
            writes = bool(arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
            self.paths.append((str(arguments[0]), writes))


def bytes_read() -> int:
    """By this process, through read(): what is mapped does not count."""
    return int(Path("/proc/self/io").read_text().split()[1])


def test_ranks_only_map_what_was_built(engine: Any, run: RunFolder) -> None:
    list_many_documents(run, 200_000)
    cache, blend = ensure(engine, run), load_blend(run, 1)
    for path in [*cache.iterdir(), cache, cache.parent, run.phase(1)]:
        path.chmod(path.stat().st_mode & ~0o222)
    before, opened, read = state(run.root), Opened(run.root), bytes_read()
    assert ensure(engine, run) == cache
    samples = read_all(run, blend, cache)
    read = bytes_read() - read
    opened.watching = False
    for path in [run.phase(1), cache.parent, cache]:
        path.chmod(0o755)
    assert len(samples) > blend.samples
    assert state(run.root) == before
    assert opened.paths and not [path for path, writes in opened.paths if writes]
    sizes = [path.stat().st_size for path in run.phase(1).rglob("*") if path.suffix in (".idx", ".npy")]
    assert read < 500_000 < 5_000_000 < sum(sizes)  # headers and JSON are read, the arrays are mapped


def list_many_documents(run: RunFolder, count: int) -> None:
    """Let the first slice list the same few tokens over and over."""
    prefix = run.phase(1) / "first"
    write_index(prefix, token_dtype(VOCABULARY), np.full(count, 3), np.zeros(count))
    blend = read_json(run.phase(1) / "blend.json")
    blend["slices"]["first.idx"] = file_digest(index_file(prefix))
    write_json(run.phase(1) / "blend.json", blend)


def test_the_folder_may_move(engine: Any, run: RunFolder, tmp_path: Path) -> None:
    samples = read_all(run, load_blend(run, 1), ensure(engine, run))
    moved = RunFolder(tmp_path / "elsewhere" / "run")
    moved.root.parent.mkdir()
    run.root.rename(moved.root)
    before = state(moved.root)
    cache = ensure(engine, moved)
    assert read_all(moved, load_blend(moved, 1), cache) == samples
    assert state(moved.root) == before
    assert str(tmp_path).encode() not in b"".join(contents(cache).values())


def test_a_builder_killed_at_any_moment_leaves_nothing_that_is_used(engine: Any, run: RunFolder) -> None:
    start = time.monotonic()
    whole = contents(ensure(engine, run))
    duration = time.monotonic() - start
    moments, finished = random.Random(0), 0
    for _ in range(40):
        shutil.rmtree(run.phase(1) / "cache")
        child = os.fork()
        if not child:
            ensure(engine, run)
            os._exit(0)
        time.sleep(moments.uniform(0, 1.5 * duration))
        os.kill(child, signal.SIGKILL)
        finished += os.waitpid(child, 0)[1] == 0
        cache = engine.cache_folder(run.phase(1), load_blend(run, 1))
        assert not cache.exists() or contents(cache) == whole
        assert contents(ensure(engine, run)) == whole
        assert [path.name for path in cache.parent.iterdir()] == [cache.name]
    assert finished < 40


def test_what_another_builder_put_there_meanwhile_stays(
    engine: Any, run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rank may have mapped it already."""
    cache = ensure(engine, run)
    others = cache.rename(tmp_path / "of another builder").stat().st_ino

    def finish_later(path: Path, content: Any) -> None:
        (tmp_path / "of another builder").rename(cache)
        write_json(path, content)

    monkeypatch.setattr(engine, "write_json", finish_later)
    assert ensure(engine, run).stat().st_ino == others
    assert [path.name for path in cache.parent.iterdir()] == [cache.name]


@pytest.mark.parametrize("harm", ["cut", "removed", "no receipt"])
def test_index_files_that_are_not_whole_are_built_again(engine: Any, run: RunFolder, harm: str) -> None:
    cache = ensure(engine, run)
    whole = contents(cache)
    path = next(cache.glob("*sample_index.npy")) if harm != "no receipt" else cache / "cache.json"
    if harm == "cut":
        path.write_bytes(path.read_bytes()[:-8])
    else:
        path.unlink()
    assert contents(ensure(engine, run)) == whole


@pytest.mark.parametrize(
    "change",
    [
        {"slices": {"first.idx": "0" * 64}},
        {"shards": {"first": {"documents.bin": "0" * 64}}},
        {"seed": 8},
        {"sequence_length": 16},
        {"prefixes": ["second", "first"]},
        {"packing": "best_fit"},
        {"digest": "another"},
    ],
)
def test_other_content_has_another_key(engine: Any, run: RunFolder, change: dict[str, Any]) -> None:
    blend = load_blend(run, 1)
    assert engine.cache_folder(run.phase(1), blend.model_copy(update=change)).name != ensure(engine, run).name


def test_a_slice_that_is_not_the_one_named_is_refused(engine: Any, run: RunFolder) -> None:
    path = run.phase(1) / "first.idx"
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    with pytest.raises(UserError, match=r"first\.idx: it is not the slice that blend\.json names"):
        ensure(engine, run)
    assert not any((run.phase(1) / "cache").glob("[!.]*"))


def test_a_shard_of_another_size_is_refused(engine: Any, run: RunFolder) -> None:
    ensure(engine, run)
    path = run.phase(1) / "second.bin"
    os.truncate(path, path.stat().st_size - 2)
    with pytest.raises(UserError, match=r"second\.bin: it has \d+ bytes, and had \d+ when its index files were built"):
        ensure(engine, run)
