"""What ships with the project, the sample corpus and tokenizers; and the tokenizer that a recipe names, ours or not."""

import gzip
import shutil
from pathlib import Path

from recipes.artifacts import atomic_folder
from recipes.errors import UserError

PREFIX = "bundled:"
SAMPLE = Path(__file__).parent / "sample" / "corpus.yaml"
TOKENIZERS = SAMPLE.parent / "tokenizers"


def tokenizer_folder(path: str, cache: Path) -> Path:
    """The folder that holds tokenizer.json and tokenizer_config.json.

    Args:
        path: `bundled:qwen3`, `bundled:bpe8k`, or a folder (relative to the working directory).
        cache: where a compressed bundled tokenizer is unpacked, once.

    Raises:
        UserError: there is no such bundled tokenizer, or no tokenizer.json in the folder.
    """
    if path.startswith(PREFIX):
        return _bundled(path.removeprefix(PREFIX), cache)
    folder = Path(path)
    if not (folder / "tokenizer.json").is_file():
        raise UserError(
            f"tokenizer {path}: expected a folder with tokenizer.json; put the base model's tokenizer files there, "
            f"or use one of {', '.join(_names())}."
        )
    return folder


def _bundled(name: str, cache: Path) -> Path:
    folder = TOKENIZERS / name
    if PREFIX + name not in _names():
        raise UserError(f"tokenizer {PREFIX}{name}: no such bundled tokenizer; there are {', '.join(_names())}.")
    compressed = folder / "tokenizer.json.gz"
    if not compressed.is_file():
        return folder
    if not (cache / name).is_dir():
        with atomic_folder(cache / name) as partial:
            with gzip.open(compressed) as stream, (partial / "tokenizer.json").open("wb") as target:
                shutil.copyfileobj(stream, target)
            shutil.copyfile(folder / "tokenizer_config.json", partial / "tokenizer_config.json")
    return cache / name


def _names() -> list[str]:
    return sorted(PREFIX + folder.name for folder in TOKENIZERS.iterdir() if folder.is_dir())
