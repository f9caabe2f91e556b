"""What of a corpus file or tokenizer makes shards be built again, by its own name and not by what follows from it."""

import pytest

from data_prep.settings_changes import settings_changes

BUILT = {
    "corpus": {"sources": [{"name": "laws", "licence": "none"}], "near_duplicates": {"jaccard": 0.8}},
    "cleaning": {"laws": {"models": [[1, 2]], "signatures": {"shingle": 5}}},
    "selection": {"settings": {"near_duplicates": {"jaccard": 0.8}}, "files": {"exam.jsonl": "1" * 64}},
    "tokenizer_digest": "2" * 64,
    "separator": "</s>",
    "tool_version": "0.1",
}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, []),
        (
            {
                "corpus": {"sources": BUILT["corpus"]["sources"], "near_duplicates": {"jaccard": 0.7}},
                "selection": {"settings": {"near_duplicates": {"jaccard": 0.7}}, "files": BUILT["selection"]["files"]},
            },
            ["the corpus file's near_duplicates.jaccard (0.8 -> 0.7)"],
        ),
        ({"tokenizer_digest": "3" * 64}, ["the tokenizer"]),
        ({"separator": "<|end|>"}, ["the tokenizer's separator (</s> -> <|end|>)"]),
        (
            {"selection": {**BUILT["selection"], "files": {"exam.jsonl": "4" * 64}}},
            ["the file exam.jsonl"],
        ),
        (
            {"cleaning": {"laws": {"models": [[1, 3]], "signatures": {"shingle": 5}}}},
            ["cleaning of laws.models"],
        ),
    ],
)
def test_what_changed_is_named(changes: dict, said: list[str]) -> None:
    assert settings_changes(BUILT, {**BUILT, **changes}) == said
