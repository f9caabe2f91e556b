"""What of a corpus file, its tokenizer or its cleaning is not what shards or a cleaned part were made with, by name."""

from typing import Any

from data_prep.differences import differences

WORDS = {
    "corpus": "the corpus file's",
    "cleaning": "cleaning of",  # a source's
    "selection.files": "the file",
    "tokenizer_digest": "the tokenizer",
    "separator": "the tokenizer's separator",
    "tool_version": "the version of this program",
}
FOLLOWS = ("cleaning", "selection.settings", "selection.tool_version")  # from what `corpus` says, most often


def settings_changes(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """What differs between two `Preparation.settings()`; what follows from another difference is left out."""
    found = list(differences(old, new))
    causes = [each for each in found if not each.field.startswith(FOLLOWS)]
    return list(dict.fromkeys(str(each._replace(field=_in_words(each.field))) for each in causes or found))


def _in_words(field: str) -> str:
    """For example `the corpus file's sources.laws.licence` for `corpus.sources.laws.licence`."""
    for prefix, words in WORDS.items():
        if field == prefix or field.startswith(f"{prefix}."):
            return f"{words} {field.removeprefix(prefix).lstrip('.')}".strip()
    return field
