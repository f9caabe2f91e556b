"""Losses of parts added up: counts are whole, lines are those of the file."""

import json

from data_prep.ingest.document import EXAMPLES, Dropped
from data_prep.losses import add_up, from_json, merge, place, to_json


def part(lines: dict[str, int], *losses: tuple[str, str, int]) -> Dropped:
    dropped = Dropped()
    dropped.lines.update(lines)
    for reason, file, line in losses:
        dropped.add(reason, file, line, f"text of {line}")
    return dropped


def test_lines_are_counted_from_the_beginning_of_their_file() -> None:
    parts = [
        part({"a": 10}, ("no_text", "a", 3)),
        part({"a": 5, "b": 2}, ("no_text", "a", 1), ("no_text", "b", 1)),
        part({"b": 9}, ("not_json", "b", 4)),
    ]
    losses = add_up(parts)
    assert [place(example) for example in losses["no_text"].examples] == ["a:3", "a:11", "b:1"]
    assert [place(example) for example in losses["not_json"].examples] == ["b:6"]
    assert {reason: loss.documents for reason, loss in losses.items()} == {"no_text": 3, "not_json": 1}


def test_counts_are_whole_where_examples_are_not() -> None:
    many = [part({"a": 50}, *(("no_text", "a", line) for line in range(1, 51))) for _ in range(3)]
    loss = add_up(many)["no_text"]
    assert (loss.documents, len(loss.examples)) == (150, EXAMPLES)


def test_a_receipt_gives_back_what_was_put_into_it() -> None:
    before = part({"a": 3}, ("no_text", "a", 1), ("not_json", "a", 2))
    after = from_json(json.loads(json.dumps(to_json(before))))
    assert (after.counts, after.examples, after.lines) == (before.counts, before.examples, before.lines)


def test_two_passes_over_a_part_are_merged() -> None:
    reading = part({"a": 10}, ("no_text", "a", 2))
    selecting = part({}, ("duplicate", "a", 7), ("no_text", "a", 9))
    merged = merge(reading, selecting)
    assert (merged.counts["no_text"], merged.counts["duplicate"], merged.lines["a"]) == (2, 1, 10)
    assert [example.line for example in merged.examples["no_text"]] == [2, 9]
    assert reading.counts["no_text"] == 1  # left as it was
