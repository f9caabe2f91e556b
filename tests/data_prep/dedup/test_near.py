"""Near-duplicates: against the definition read plainly, on planted copies, and on real decisions."""

import gzip
import itertools
import json
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components

from data_prep.bundled import SAMPLE
from data_prep.dedup import links, near
from data_prep.dedup.minhash import NO_WORDS, NearDuplicates, Signatures, bands, estimates, signatures
from data_prep.dedup.near import Found, near_duplicates
from data_prep.dedup.shingles import shingles

DECISIONS = Path(__file__).parents[4] / "shared" / "data" / "legal" / "yargitay_criminal.jsonl.gz"
SMALL = NearDuplicates(permutations=64)
Mask = NDArray[np.bool_]


def texts_of(file: Path) -> list[str]:
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        return [json.loads(line)["text"] for line in lines]


def search(
    folder: Path,
    parts: Sequence[Signatures],
    excluded: Sequence[Mask],
    options: NearDuplicates,
    memory: int = 1 << 28,
    workers: int = 1,
) -> Found:
    """near_duplicates over `parts`, written to files."""
    signature_files = [folder / f"signatures-{number}.npy" for number in range(len(parts))]
    masks = [folder / f"excluded-{number}.npy" for number in range(len(parts))]
    for file, array in zip([*signature_files, *masks], [*parts, *excluded], strict=True):
        np.save(file, array)
    return near_duplicates(signature_files, masks, options, folder / "scratch", memory, workers)


def search_texts(folder: Path, texts: Sequence[str], options: NearDuplicates) -> tuple[Mask, Found]:
    signature = signatures(texts, options)
    found = search(folder, [signature], [np.zeros(len(texts), bool)], options)
    return np.load(found.masks[0]), found


def first_of_components(documents: int, pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    graph = coo_array((np.ones(len(pairs)), pairs.T), shape=(documents, documents))
    _, labels = connected_components(graph, directed=False)
    first = np.full(documents, documents)
    np.minimum.at(first, labels, np.arange(documents))
    return first[labels]


def plain_groups(signature: Signatures, excluded: Mask, options: NearDuplicates) -> list[list[int]]:
    """Documents that share a band."""
    count, rows = bands(options)
    groups = defaultdict(list)
    for document in np.flatnonzero(~excluded & (signature != NO_WORDS).any(axis=1)).tolist():
        for band in range(count):
            groups[band, signature[document, band * rows : (band + 1) * rows].tobytes()].append(document)
    return list(groups.values())


def plain_links(group: list[int], signature: Signatures, options: NearDuplicates) -> Iterator[tuple[int, int]]:
    for _ in range(links.LEADERS):
        leader, left = group[0], []
        for document in group[1:]:
            if estimates(signature[[leader]], signature[[document]])[0] >= options.jaccard:
                yield leader, document
            else:
                left.append(document)
        if len(left) < 2:
            return
        group = left


def plain_mask(signature: Signatures, excluded: Mask, options: NearDuplicates) -> Mask:
    groups = plain_groups(signature, excluded, options)
    pairs = [pair for group in groups for pair in plain_links(group, signature, options)]
    first = first_of_components(len(signature), np.array(pairs, np.int64).reshape(-1, 2))
    return first != np.arange(len(signature))


@st.composite
def alike_signatures(draw: st.DrawFn) -> Signatures:
    """Rows made from a few ancestors, with about a fifth of the slots changed: many estimates lie near 0.8."""
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    documents, ancestors = draw(st.integers(0, 40)), draw(st.integers(1, 4))
    changed = draw(st.floats(0.02, 0.25))
    signature = random.integers(0, 256, (ancestors, 64), np.uint8)[random.integers(0, ancestors, documents)]
    fresh = random.integers(0, 256, signature.shape, np.uint8)
    signature = np.where(random.random(signature.shape) < changed, fresh, signature)
    signature[random.random(documents) < 0.1] = NO_WORDS
    return signature


@pytest.mark.slow
@settings(max_examples=15)
@given(
    alike_signatures(),
    st.sampled_from([0.5, 0.7, 0.8]),
    st.lists(st.integers(0, 40), max_size=4),
    st.integers(4_000, 100_000),
    st.integers(0, 2**32),
)
def test_the_result_is_the_definition(
    signature: Signatures, jaccard: float, cuts: list[int], memory: int, seed: int
) -> None:
    """Whatever the files and the memory, and so the buckets and blocks."""
    options = NearDuplicates(permutations=64, jaccard=jaccard)
    excluded = np.random.default_rng(seed).random(len(signature)) < 0.1
    parts, masks = (
        np.split(array, sorted(min(cut, len(signature)) for cut in cuts)) for array in (signature, excluded)
    )
    with tempfile.TemporaryDirectory() as name:
        found = search(Path(name), parts, masks, options, memory)
        mask = np.concatenate([np.load(file) for file in found.masks])
        assert [len(np.load(file)) for file in found.masks] == [len(part) for part in parts]
        assert [entry.name for entry in Path(name, "scratch").iterdir()] == ["masks"]
    assert mask.tolist() == plain_mask(signature, excluded, options).tolist()
    assert found.documents == mask.sum() == len(found.pairs)
    assert found.unfinished == 0


@settings(max_examples=15)
@given(alike_signatures())
def test_no_two_that_share_a_band_and_are_alike_stay(signature: Signatures) -> None:
    nothing = np.zeros(len(signature), bool)
    with tempfile.TemporaryDirectory() as name:
        gone = np.load(search(Path(name), [signature], [nothing], SMALL).masks[0])
    for group in plain_groups(signature, nothing, SMALL):
        for left, right in itertools.combinations([document for document in group if not gone[document]], 2):
            assert estimates(signature[[left]], signature[[right]])[0] < SMALL.jaccard


@pytest.mark.slow
def test_workers_memory_and_killed_runs_leave_no_trace(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    signature = random.integers(0, 256, (2_000, 64), np.uint8)
    copies = random.integers(0, 2_000, 1_000)
    signature[copies[:500]] = signature[copies[500:]]
    signature[copies[:500], :6] = 0
    parts, masks = np.array_split(signature, 9), np.array_split(random.random(2_000) < 0.1, 9)
    results = []
    for workers, memory in ((1, 1 << 28), (1, 800_000), (2, 200_000)):
        found = search(tmp_path, parts, masks, SMALL, memory, workers)
        results.append(([file.read_bytes() for file in found.masks], found._replace(masks=[])))
        for leftover in ("records-000000/000000.records", "links/000000.npy", "forest", "masks/000000.npy"):
            (tmp_path / "scratch" / leftover).parent.mkdir(exist_ok=True)
            (tmp_path / "scratch" / leftover).write_bytes(b"half of a file!!" * 3)
    assert results[0] == results[1] == results[2]
    assert results[0][1].documents > 200
    assert len(results[0][1].pairs) == near.SAMPLE


def test_groups_that_are_not_done_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve documents share their first band and nothing else."""
    monkeypatch.setattr(links, "LEADERS", 5)
    signature = np.random.default_rng(0).integers(0, 256, (12, 64), np.uint8)
    signature[:, : bands(SMALL)[1]] = 7
    found = search(tmp_path, [signature], [np.zeros(12, bool)], SMALL)
    assert (found.documents, found.unfinished) == (0, 1)


def test_pairs_say_where_both_are(tmp_path: Path) -> None:
    signature = np.random.default_rng(0).integers(0, 256, (7, 64), np.uint8)
    signature[[4, 6]] = signature[1]
    signature[6, 0] ^= 1
    found = search(tmp_path, [signature[:3], signature[3:]], [np.zeros(3, bool), np.zeros(4, bool)], SMALL)
    pairs = sorted(found.pairs)
    assert [pair[:4] for pair in pairs] == [(1, 1, 0, 1), (1, 3, 0, 1)]
    assert [pair.jaccard for pair in pairs] == pytest.approx([1, (63 / 64 - 1 / 256) / (255 / 256)])


@pytest.mark.slow
def test_planted_copies_in_real_text(tmp_path: Path) -> None:
    """Copies of decisions with replaced words: those well above 0.8 are found, those well below stay."""
    options = NearDuplicates()
    random = np.random.default_rng(0)
    originals = [text for text in texts_of(SAMPLE.parent / "decisions.jsonl.gz") if len(text.split()) > 120]
    texts = list(originals)
    exact = []
    for number, text in enumerate(originals):
        words = text.split()
        for place in random.choice(len(words), int(len(words) * random.uniform(0, 0.08)), replace=False):
            words[place] = f"değişik{number}x{place}"
        texts.append(" ".join(words))
        first, second = (set(shingles([version], options.shingle)[0].tolist()) for version in (text, texts[-1]))
        exact.append(len(first & second) / len(first | second))
    before, _ = search_texts(tmp_path, originals, options)
    gone, found = search_texts(tmp_path, texts, options)
    jaccard, copies_gone = np.array(exact), gone[len(originals) :] & ~before
    assert copies_gone[(jaccard > 0.88) & ~before].all()
    assert not copies_gone[jaccard < 0.72].any()
    assert min((jaccard > 0.88).sum(), (jaccard < 0.72).sum()) > 150
    assert np.array_equal(gone[: len(originals)], before)
    assert found.unfinished == 0


def exact_pairs(texts: Sequence[str], size: int, least: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """All pairs (earlier, later) whose sets of shingles have a Jaccard similarity of at least `least`, and that."""
    hashes, counts = shingles(texts, size)
    _, shingle = np.unique(hashes, return_inverse=True)
    document = np.repeat(np.arange(len(texts)), counts)
    shape = (len(texts), int(shingle.max()) + 1)
    sets = csr_array((np.ones(len(shingle), np.int32), (document, shingle)), shape=shape)
    sets.sum_duplicates()
    sets.data[:] = 1
    sizes = np.diff(sets.indptr)
    pairs, similarities = [], []
    for start in range(0, len(texts), 500):
        common = (sets[start : start + 500] @ sets.T).tocoo()
        later, earlier = common.row + start, common.col
        jaccard = common.data / (sizes[later] + sizes[earlier] - common.data)
        kept = (earlier < later) & (jaccard >= least)
        pairs.append(np.stack([earlier[kept], later[kept]], axis=1).astype(np.int64))
        similarities.append(jaccard[kept])
    return np.concatenate(pairs), np.concatenate(similarities)


@pytest.mark.slow
@pytest.mark.skipif(not DECISIONS.is_file(), reason="needs the shared data")
def test_rates_on_criminal_decisions(tmp_path: Path) -> None:
    """4 % of the decisions are near-duplicates at 0.8 and a third at 0.5, by exact similarity and by signatures alike.

    Seven times as many pairs lie above 0.7 as above 0.8, so the errors of the estimates (0.02) move many across the
    threshold in both directions; what is further than 0.05 from it is right.
    """
    texts = texts_of(DECISIONS)
    pairs, jaccard = exact_pairs(texts, 5, least=0.45)
    for threshold, rate, agreement in ((0.8, 0.04, 0.85), (0.5, 1 / 3, 0.95)):
        options = NearDuplicates(jaccard=threshold)
        alike = pairs[jaccard >= threshold]
        expected = first_of_components(len(texts), alike) != np.arange(len(texts))
        gone, _ = search_texts(tmp_path, texts, options)
        assert expected.mean() == pytest.approx(rate, abs=0.005)
        assert gone.mean() == pytest.approx(expected.mean(), rel=0.03)
        assert (gone & expected).sum() / gone.sum() > agreement  # precision
        assert (gone & expected).sum() / expected.sum() > agreement  # recall
        well_above = pairs[jaccard >= threshold + 0.05]
        assert gone[well_above].any(axis=1).mean() > 0.995
        nearly = first_of_components(len(texts), pairs[jaccard >= threshold - 0.05]) != np.arange(len(texts))
        assert (gone & nearly).sum() / gone.sum() > 0.99
