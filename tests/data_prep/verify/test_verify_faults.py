"""Damage to real shards and mixtures: each is found, and named with its file, its check and what to do."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_prep.indexed import HEADER, read_index, write_index
from data_prep.verify.check import check, structural
from data_prep.verify.report import Report
from recipes.artifacts import digest, read_json, write_json
from recipes.errors import UserError
from recipes.layout import RunFolder

LAWS, SPANISH = Path("shards/laws"), Path("shards/spanish")
SLICE = Path("phases/2/laws.idx")
MakeRun = Callable[..., RunFolder]
many = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30)


@pytest.fixture
def small(make_run: MakeRun) -> RunFolder:
    return make_run({"first": [[5, 6], [7, 8, 9]] * 3, "second": [[9, 8], [7, 6, 5]] * 3})


def patch(path: Path, offset: int, content: bytes) -> None:
    with path.open("r+b") as stream:
        stream.seek(offset)
        stream.write(content)


def flip(path: Path, offset: int, bit: int = 0) -> None:
    patch(path, offset, bytes([path.read_bytes()[offset] ^ 1 << bit]))


def cut(path: Path, size: int) -> None:
    with path.open("r+b") as stream:
        stream.truncate(size)


def swap(one: Path, other: Path) -> None:
    aside = one.with_name("aside")
    one.rename(aside)
    other.rename(one)
    aside.rename(other)


def edit(path: Path, **fields: object) -> None:
    """Change fields of a record, with its own digest if it has one."""
    content = read_json(path) | fields
    if "digest" in content:
        content["digest"] = digest({name: value for name, value in content.items() if name != "digest"})
    write_json(path, content)


def found(report: Report, root: Path) -> set[tuple[str, str]]:
    assert all(problem.found and problem.remedy for problem in report.problems)
    return {(str(problem.path.relative_to(root)), problem.check) for problem in report.problems}


def test_what_was_just_built_has_no_fault(sample_phases: RunFolder) -> None:
    report = check(sample_phases.root, full=True, workers=2)
    assert (report.problems, report.warnings) == ([], [])
    written = {path for folder in ("shards", "heldout", "phases") for path in (sample_phases.root / folder).rglob("*")}
    records = {path for path in written if path.name in ("receipt.json", "blend.json", "manifest.json")}
    vouched_for = {path for path in written if path.suffix in (".bin", ".idx", ".jsonl") or path.parent.name == "given"}
    assert records | vouched_for | {sample_phases.plan} == set(report.files)
    structural(sample_phases, [1, 2, 3, 4])


FAULTS: dict[str, tuple[Callable[[Path], None], set[tuple[str, str]]]] = {
    "truncated .bin": (
        lambda root: cut(root / LAWS / "documents.bin", 1000),
        {("shards/laws/documents.bin", "size"), ("shards/laws/documents.bin", "receipt")},
    ),
    "longer .bin": (
        lambda root: patch(root / LAWS / "documents.bin", read_json(root / LAWS / "receipt.json")["bytes"], b"\0\0"),
        {("shards/laws/documents.bin", "size"), ("shards/laws/documents.bin", "receipt")},
    ),
    "empty .bin": (
        lambda root: cut(root / LAWS / "documents.bin", 0),
        {("shards/laws/documents.bin", "size"), ("shards/laws/documents.bin", "receipt")},
    ),
    "truncated .idx": (
        lambda root: cut(root / LAWS / "documents.idx", 100),
        {("shards/laws/documents.idx", "size")},
    ),
    "empty .idx": (
        lambda root: cut(root / LAWS / "documents.idx", 0),
        {("shards/laws/documents.idx", "header")},
    ),
    "another dtype": (
        lambda root: patch(root / LAWS / "documents.idx", 17, b"\x04"),
        {("shards/laws/documents.idx", "dtype")},
    ),
    "a dtype of the same size": (
        lambda root: patch(root / LAWS / "documents.idx", 17, b"\x03"),
        {("shards/laws/documents.idx", "dtype")},
    ),
    "empty shard": (
        lambda root: (
            write_index(root / LAWS / "documents", np.dtype("<u2"), np.zeros(0), np.zeros(0)),
            cut(root / LAWS / "documents.bin", 0),
        ),
        {("shards/laws/documents.idx", "empty"), ("shards/laws/documents.bin", "receipt")},
    ),
    "swapped .bin": (
        lambda root: swap(root / LAWS / "documents.bin", root / SPANISH / "documents.bin"),
        {
            (f"shards/{name}/documents.bin", check_name)
            for name in ("laws", "spanish")
            for check_name in ("size", "receipt")
        },
    ),
    "swapped .idx": (
        lambda root: swap(root / LAWS / "documents.idx", root / SPANISH / "documents.idx"),
        {(f"shards/{name}/documents.bin", "size") for name in ("laws", "spanish")},
    ),
    "swapped sources": (
        lambda root: swap(root / LAWS, root / SPANISH),
        {("shards/laws/receipt.json", "source"), ("shards/spanish/receipt.json", "source")},
    ),
    "missing .bin": (
        lambda root: (root / LAWS / "documents.bin").unlink(),
        {("shards/laws/documents.bin", "file")},
    ),
    "missing .idx": (
        lambda root: (root / LAWS / "documents.idx").unlink(),
        {("shards/laws/documents.idx", "file")},
    ),
    "missing receipt": (
        lambda root: (root / LAWS / "receipt.json").unlink(),
        {("shards/laws/receipt.json", "record")},
    ),
    "a receipt that is not JSON": (
        lambda root: (root / LAWS / "receipt.json").write_text("{"),
        {("shards/laws/receipt.json", "record")},
    ),
    "a receipt that is not an object": (
        lambda root: (root / LAWS / "receipt.json").write_text("[1]"),
        {("shards/laws/receipt.json", "record")},
    ),
    "a receipt with a field of another kind": (
        lambda root: edit(root / LAWS / "receipt.json", tokens="many"),
        {("shards/laws/receipt.json", "record")},
    ),
    "a receipt without files": (
        lambda root: edit(root / LAWS / "receipt.json", files={}),
        {
            ("shards/laws/receipt.json", "receipt"),
            *((f"phases/{number}/blend.json", "shards") for number in (1, 2, 3, 4)),
        },
    ),
    "a receipt of other counts": (
        lambda root: edit(root / SPANISH / "receipt.json", tokens=1),
        {("shards/spanish/documents.idx", "receipt")},
    ),
    "truncated held-out .bin": (
        lambda root: cut(root / "heldout/laws.bin", 10),
        {("heldout/laws.bin", "size"), ("heldout/laws.bin", "receipt")},
    ),
    "missing held-out text": (
        lambda root: (root / "heldout/laws.jsonl").unlink(),
        {("heldout/laws.jsonl", "file")},
    ),
    "missing held-out receipt": (
        lambda root: (root / "heldout/receipt.json").unlink(),
        {("heldout/receipt.json", "record")},
    ),
    "missing source": (
        lambda root: shutil.rmtree(root / SPANISH),
        {("shards/spanish/receipt.json", "record")},
    ),
    "dangling link": (
        lambda root: ((root / "phases/2/laws.bin").unlink(), (root / "phases/2/laws.bin").symlink_to("gone.bin")),
        {("phases/2/laws.bin", "link")},
    ),
    "missing link": (
        lambda root: (root / "phases/2/laws.bin").unlink(),
        {("phases/2/laws.bin", "file")},
    ),
    "link to another shard": (
        lambda root: (
            (root / "phases/2/laws.bin").unlink(),
            (root / "phases/2/laws.bin").symlink_to("../../shards/decisions/documents.bin"),
        ),
        {("phases/2/laws.bin", "link")},
    ),
    "missing cursor": (
        lambda root: (root / "phases/2/given/laws.npy").unlink(),
        {("phases/2/given/laws.npy", "file")},
    ),
    "missing slice": (lambda root: (root / SLICE).unlink(), {("phases/2/laws.idx", "file")}),
    "truncated slice": (lambda root: cut(root / SLICE, 200), {("phases/2/laws.idx", "size")}),
    "a slice that starts inside a document": (
        lambda root: shift_first(root / SLICE),
        {("phases/2/laws.idx", "slice")},
    ),
    "swapped slices": (
        lambda root: swap(root / "phases/2/laws.idx", root / "phases/3/laws.idx"),
        {(f"phases/{number}/laws.idx", name) for number in (2, 3) for name in ("samples", "manifest")},
    ),
    "missing blend": (lambda root: (root / "phases/2/blend.json").unlink(), {("phases/2/blend.json", "record")}),
    "missing manifest": (
        lambda root: (root / "phases/2/manifest.json").unlink(),
        {("phases/2/manifest.json", "record")},
    ),
    "an edited blend": (
        lambda root: (root / "phases/2/blend.json").write_text(
            (root / "phases/2/blend.json").read_text().replace('"seed": ', '"seed": 1')
        ),
        {("phases/2/blend.json", "digest")},
    ),
    "a blend of another separator": (
        lambda root: edit(root / "phases/2/blend.json", separator_id=77),
        {("phases/2/blend.json", "separator_id")},
    ),
    "a blend that promises too much": (
        lambda root: edit(root / "phases/2/blend.json", iterations=10**6),
        {("phases/2/blend.json", "samples")},
    ),
    "a blend of other slices": (
        lambda root: edit(root / "phases/2/blend.json", slices={"laws.idx": "0" * 64}),
        {("phases/2/blend.json", "digest")},
    ),
}


def shift_first(slice_index: Path) -> None:
    """Let the first document of a slice start one token later."""
    index = read_index(slice_index.with_suffix(""), whole=False)
    at = HEADER.size + 4 * len(index.lengths)
    start = int(index.pointers.max() if index.pointers[0] == 0 else index.pointers[0])
    patch(slice_index, at, (start - 2).to_bytes(8, "little"))


@pytest.mark.parametrize("name", FAULTS)
def test_structural_mode_names(name: str, run: RunFolder) -> None:
    damage, expected = FAULTS[name]
    damage(run.root)
    problems = found(check(run.root), run.root)
    assert expected <= problems
    assert {path for path, _ in problems} == {path for path, _ in expected}  # and nobody else is blamed
    with pytest.raises(UserError, match=r"check: .*; .*\.$"):
        structural(run, [1, 2, 3, 4])


def test_all_problems_are_listed(run: RunFolder) -> None:
    for name in ("truncated .idx", "truncated held-out .bin", "dangling link", "an edited blend"):
        FAULTS[name][0](run.root)
    expected = {("shards/laws/documents.idx", "size"), ("heldout/laws.bin", "size"), ("phases/2/laws.bin", "link")}
    assert expected | {("phases/2/blend.json", "digest")} <= found(check(run.root), run.root)


@many
@given(data=st.data())
def test_every_changed_byte_of_a_shards_index_is_found_without_tokens(run: RunFolder, data: st.DataObject) -> None:
    path = run.root / LAWS / "documents.idx"
    content = path.read_bytes()
    offset = data.draw(st.integers(0, len(content) - 1))
    value = data.draw(st.integers(0, 255).filter(lambda value: value != content[offset]))
    patch(path, offset, bytes([value]))
    problems = check(run.root / LAWS).problems
    patch(path, offset, content[offset : offset + 1])
    assert {problem.path for problem in problems} & {path, path.with_suffix(".bin")}


@many
@given(data=st.data())
def test_every_flipped_bit_is_found_in_full_mode(small: RunFolder, data: st.DataObject) -> None:
    pairs = [path for path in small.root.rglob("*") if path.suffix in (".bin", ".idx", ".jsonl")]
    records = list(small.root.rglob("*.json"))
    files = sorted(path for path in [*pairs, *records] if not path.is_symlink())
    path = data.draw(st.sampled_from(files))
    content = path.read_bytes()
    offset = data.draw(st.integers(0, len(content) - 1))
    flip(path, offset, data.draw(st.integers(0, 7)))
    report = check(small.root, full=True)
    patch(path, offset, content[offset : offset + 1])
    assert path in {problem.path for problem in report.problems}


@many
@given(data=st.data())
def test_no_garbled_index_ends_in_a_traceback(write_dataset: Callable[..., Path], data: st.DataObject) -> None:
    prefix = write_dataset([[5, 3], [6, 7, 3]])
    path = prefix.with_suffix(".idx")
    garbled = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        garbled[data.draw(st.integers(0, len(garbled) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(garbled[: data.draw(st.integers(0, len(garbled)))]))
    check(prefix, full=True, vocab_size=8, separator_id=3)


def test_a_shard_rewritten_in_place_is_found(run: RunFolder) -> None:
    path = run.root / LAWS / "documents.bin"
    before = path.read_bytes()
    path.write_bytes(before[::-1])
    report = check(run.phase(2))
    assert not report.problems
    assert [(warning.path, warning.check) for warning in report.warnings] == [(path, "changed")]
    assert ("shards/laws/documents.bin", "digest") in found(check(run.phase(2), full=True), run.root)


def test_phases_in_each_others_place_are_found(run: RunFolder) -> None:
    swap(run.phase(1), run.phase(2))
    assert found(check(run.root), run.root) == {(f"phases/{number}/manifest.json", "phase") for number in (1, 2)}
    with pytest.raises(UserError, match="it is the receipt of phase 2; build the mixture of phase 1 again"):
        structural(run, [1])


def test_a_changed_plan_is_found(run: RunFolder) -> None:
    patch(run.plan, run.plan.read_bytes().index(b'"seed": ') + 8, b"9")
    assert found(check(run.root), run.root) == {("plan.json", "digest")}


def test_a_shard_that_was_built_again_is_found(make_run: MakeRun) -> None:
    texts = [[5, 6, 7], [8, 9, 10]] * 4
    run = make_run({"first": texts})
    phase = run.root / "kept"
    shutil.copytree(run.phase(1), phase, symlinks=True)
    shutil.rmtree(run.root / "shards")
    shutil.rmtree(run.phase(1))
    make_run({"first": [[6, 6, 6], *texts[1:]]})
    shutil.rmtree(run.phase(1))
    phase.rename(run.phase(1))
    assert found(check(run.root), run.root) == {("phases/1/blend.json", "shards")}


def test_swapped_files_of_equal_size_are_found_in_full_mode(small: RunFolder) -> None:
    for suffix in (".bin", ".idx"):
        swap(small.shards / "first" / f"documents{suffix}", small.shards / "second" / f"documents{suffix}")
    assert not check(small.root).problems
    expected = {(f"shards/{name}/documents.bin", "digest") for name in ("first", "second")}
    assert found(check(small.root, full=True), small.root) == expected  # their .idx are equal


@pytest.mark.parametrize(
    ("token", "value", "name", "said"),
    [
        (2, 256, "tokens", "1 tokens outside [0, 256), the first 256 at byte 4"),
        (2, 65535, "tokens", "1 tokens outside [0, 256), the first 65535 at byte 4"),
        (7, 5, "separator", "1 documents do not end with token 3, the first with 5 at byte 14"),
        (0, 3, "inner_separator", "1 separators inside documents, the first 3 at byte 0"),
    ],
)
def test_what_is_wrong_with_tokens_is_named(make_run: MakeRun, token: int, value: int, name: str, said: str) -> None:
    run = make_run({"first": [[5, 6, 7], [8, 9, 10]] * 3})
    patch(run.shards / "first" / "documents.bin", 2 * token, value.to_bytes(2, "little"))
    problems = check(run.shards, full=True).problems
    assert [(problem.check, problem.found) for problem in problems if problem.check != "digest"] == [(name, said)]
    assert len(problems) == 2


def test_leftovers_of_killed_builds_are_warned_of(run: RunFolder) -> None:
    (run.shards / ".laws.host-1.partial").mkdir()
    (run.phase(1).parent / ".2.host-1.partial").mkdir()
    report = check(run.root)
    assert not report.problems
    assert [warning.check for warning in report.warnings] == ["leftover", "leftover"]


def test_a_copy_of_the_shard_in_place_of_the_link_is_compared_with_it(run: RunFolder) -> None:
    link, shard = run.phase(2) / "laws.bin", run.root / LAWS / "documents.bin"
    link.unlink()
    shutil.copy(shard, link)
    report = check(run.phase(2), full=True)
    assert not report.problems
    assert [(warning.path, warning.check) for warning in report.warnings if warning.check == "link"] == [(link, "link")]
    flip(link, 100)
    assert ("phases/2/laws.bin", "digest") in found(check(run.phase(2), full=True), run.root)


def test_a_packed_phase_may_hold_padding(make_run: MakeRun) -> None:
    run = make_run({"first": [[5, 6, 7]] * 8}, packed=True)
    assert not check(run.root, full=True).problems
    structural(run, [1])
    patch(run.phase(1) / "first.bin", 28, (-2).to_bytes(4, "little", signed=True))
    assert {("phases/1/first.bin", "tokens"), ("phases/1/first.bin", "digest")} == found(
        check(run.root, full=True), run.root
    )
    edit(run.phase(1) / "blend.json", sequence_length=9)
    assert ("phases/1/first.idx", "samples") in found(check(run.root), run.root)
