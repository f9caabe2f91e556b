"""Make the bundled sample corpus from a folder of larger JSON-lines files (maintainers only; users never need this).

    python data_prep/sample/make_sample.py FOLDER

FOLDER holds legal/, general_tr/ and replay/ as described in NOTICE.md. Rows whose `source` names a ShareAlike or GFDL
repository are never taken: only the repositories listed below are.
"""

import gzip
import hashlib
import json
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

Row = dict[str, Any]
HERE = Path(__file__).parent
UDHR = "eric-muller/udhr"
ETHEREUM = "TylerAPfledderer/ethereum-org-website"
GUTENBERG = "GITenberg/"

# sample file -> (input files, repositories that may be taken, longest document in characters, characters in all)
CHOICE: dict[str, tuple[list[str], list[str], int, int]] = {
    "laws": (["legal/laws"], ["onurcan-b/acik-mevzuat"], 60_000, 5_000_000),
    "general_tr": (
        ["general_tr/ethereum_org", "general_tr/react_dev", "general_tr/python_docs", "general_tr/ud_and_udhr"],
        [ETHEREUM, "reactjs/tr.react.dev", "python/python-docs-tr", UDHR],
        100_000,
        4_000_000,
    ),
    "english": (["replay/english"], [GUTENBERG, UDHR, ETHEREUM], 40_000, 400_000),
    "math": (["replay/math"], ["openai/grade-school-math"], 40_000, 400_000),
    "code_python": (["replay/code_python"], ["TheAlgorithms/Python", "pallets/flask"], 6_000, 400_000),
    "spanish": (["replay/spanish"], [GUTENBERG, UDHR, ETHEREUM], 40_000, 400_000),
    "arabic": (["replay/arabic"], [ETHEREUM, "reactjs/ar.react.dev", UDHR], 40_000, 200_000),
    "russian": (["replay/russian"], [ETHEREUM, UDHR], 40_000, 200_000),
    "chinese": (["replay/chinese"], [ETHEREUM, UDHR], 40_000, 100_000),
}
DECISIONS = (["legal/yargitay_mixed", "legal/yargitay_criminal"], 2_800_000)
# Sources that give few tokens to a phase are cut into passages, so that whole ones fit: characters.
PASSAGES = {"english": 2_500, "spanish": 2_500, "arabic": 2_000, "russian": 2_000, "chinese": 800}
NEAR_DUPLICATE = 0.5  # Jaccard similarity of 5-word shingles


def read(folder: Path, names: Iterable[str]) -> Iterator[Row]:
    for name in names:
        with gzip.open(folder / f"{name}.jsonl.gz", "rt", encoding="utf-8") as stream:
            yield from map(json.loads, stream)


def draw(rows: Iterable[Row], characters: int) -> Iterator[Row]:
    """Rows in the order of a hash of their id, until `characters` are reached: a sample that never moves."""
    for row in sorted(rows, key=lambda row: _hash(row["id"])):
        if characters <= 0:
            return
        characters -= len(row["text"])
        yield row


def choose(folder: Path, name: str) -> list[Row]:
    files, repositories, longest, characters = CHOICE[name]
    rows = (row for row in read(folder, files) if row["source"].startswith(tuple(repositories)))
    drawn = draw((row for row in rows if len(row["text"]) <= longest), characters)
    return [piece for row in drawn for piece in (passages(row, PASSAGES[name]) if name in PASSAGES else [row])]


def passages(row: Row, characters: int) -> Iterator[Row]:
    """Cut a document at paragraph ends, where at least half of `characters` are full."""
    parts = [""]
    for paragraph in re.split(r"\n\n+", row["text"]):
        if len(parts[-1]) >= characters / 2 and len(parts[-1]) + len(paragraph) > characters:
            parts.append("")
        parts[-1] += f"\n\n{paragraph}" if parts[-1] else paragraph
    for number, text in enumerate(parts, 1):
        yield {**row, "text": text, "id": f"{row['id']}#{number}"}


def choose_decisions(folder: Path) -> list[Row]:
    """Full texts only: the `tlb2-` rows were cut by their source repository."""
    files, characters = DECISIONS
    rows = [row for row in read(folder, files) if not row["id"].startswith("tlb2-")]
    ordered = sorted(rows, key=lambda row: (not row["id"].startswith("tlb1-"), _hash(row["id"])))
    kept: list[Row] = []
    for row in without_near_duplicates(ordered):
        kept.append(row)
        characters -= len(row["text"])
        if characters <= 0:
            break
    return kept


def without_near_duplicates(rows: Iterable[Row]) -> Iterator[Row]:
    """Leave out a row whose shingles (one in eight, by hash) overlap those of an earlier row too much."""
    postings: dict[int, list[int]] = defaultdict(list)
    sizes: list[int] = []
    for row in rows:
        words = re.findall(r"\w+", row["text"].lower())
        hashes = {_hash(" ".join(words[i : i + 5])) for i in range(len(words) - 4)}
        shingles = {value for value in hashes if value % 8 == 0}
        shared = Counter(earlier for value in shingles for earlier in postings[value])
        if any(n >= NEAR_DUPLICATE * (len(shingles) + sizes[earlier] - n) for earlier, n in shared.items()):
            continue
        for value in shingles:
            postings[value].append(len(sizes))
        sizes.append(len(shingles))
        yield row


def write(name: str, rows: list[Row]) -> None:
    """Sorted by id and with no time stamp inside: the same rows give the same bytes."""
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in sorted(rows, key=lambda row: row["id"]))
    text = "".join(lines).encode()
    (HERE / f"{name}.jsonl.gz").write_bytes(gzip.compress(text, 9, mtime=0))
    print(f"{name}: {len(rows):,} documents, {sum(len(row['text']) for row in rows):,} characters")


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def main() -> None:
    folder = Path(sys.argv[1])
    for name in CHOICE:
        write(name, choose(folder, name))
    write("decisions", choose_decisions(folder))


if __name__ == "__main__":
    main()
