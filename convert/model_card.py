"""The model card (README.md) of an exported folder: front matter that the Hub reads, and what a user has to know.

Front matter: https://huggingface.co/docs/hub/model-cards, "Model card metadata"; `model-index` as the example in
https://github.com/huggingface/hub-docs/blob/main/modelcard.md has it. What is not known is left out, never guessed.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import yaml
from pydantic import BaseModel

from convert.manifest import NAME as MANIFEST
from recipes.artifacts import atomic_file
from recipes.errors import UserError
from recipes.load import read_stated
from recipes.shape import Qwen3Shape

README = "README.md"
HERE = 'model_id = "."  # this folder; from elsewhere its path or its name on the Hub'
_SEAL = "\n<!-- generated; edit freely, then it is never written over. sha256 of the text above: {} -->\n"
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "&#124;"}  # an entity cannot be un-escaped by a backslash


@dataclass(frozen=True)
class Source:
    """Where training text came from."""

    name: str
    domain: str
    language: str  # as the corpus file names it
    licence: str


@dataclass(frozen=True)
class Phase:
    """One stretch of training."""

    name: str
    tokens: Mapping[str, int]  # source -> tokens read
    settings: Mapping[str, str]  # hyper-parameter -> value


@dataclass(frozen=True)
class Score:
    """What this model and its base scored on held-out text of one domain, or of one source of it."""

    domain: str
    source: str | None  # None: the whole domain
    language: str | None
    perplexity: float
    bits_per_byte: float
    base_perplexity: float
    base_bits_per_byte: float

    @property
    def change(self) -> float:
        """Of the perplexity since the base, in percent; below zero is better."""
        return 100 * (self.perplexity / self.base_perplexity - 1)


@dataclass(frozen=True)
class Card:
    """What a card can say beyond the weights."""

    name: str = "A Qwen3 model"
    base_model: str | tuple[str, ...] | None = None  # Hub ids; several for a merge
    base_model_relation: str = "finetune"  # or merge
    languages: tuple[str, ...] = ()  # ISO 639 codes
    licence: str | None = None  # of the weights; Hub identifier such as apache-2.0
    datasets: tuple[str, ...] = ()  # Hub ids
    sources: tuple[Source, ...] = ()
    phases: tuple[Phase, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)  # hyper-parameters of all phases
    scores: tuple[Score, ...] = ()  # each domain before its sources
    provenance: Mapping[str, str] = field(default_factory=dict)  # what it is -> digest or versions


class _Exported(BaseModel):
    """What a card takes from the manifest of its folder."""

    iteration: int | None
    dtype: str
    shape: Qwen3Shape | None = None


def render_card(card: Card, iteration: int | None, dtype: str, shape: Qwen3Shape | None = None) -> str:
    """The text of README.md; `iteration` counts the optimizer steps behind the weights, of the last phase."""
    header = yaml.safe_dump(_front_matter(card), sort_keys=False, allow_unicode=True)
    bases = (card.base_model,) if isinstance(card.base_model, str) else card.base_model or ()
    facts = {"iteration": iteration, "dtype": dtype, "shape": shape, "here": _Verbatim(HERE)}
    text = _template().render(card=card, bases=bases, **facts)
    return sealed(f"---\n{header}---\n\n{text}")


def refresh_card(folder: Path, card: Card) -> bool:
    """Write README.md of an exported folder again, unless somebody has edited it; returns whether it is up to date now.

    Raises:
        UserError: the folder is no export, or cannot be written.
    """
    manifest, path = read_stated(_Exported, folder / MANIFEST), folder / README
    before = path.read_text(encoding="utf-8") if path.is_file() else None
    if before is not None and not is_generated(before):
        return False
    text = render_card(card, manifest.iteration, manifest.dtype, manifest.shape)
    if text != before:
        with atomic_file(path) as partial:
            partial.write_text(text, encoding="utf-8")
    return True


def sealed(text: str) -> str:
    """`text` with a last line by which an edited card is known from a generated one."""
    return text + _SEAL.format(hashlib.sha256(text.encode()).hexdigest())


def unsealed(text: str) -> str:
    """A card without that line."""
    return text.rpartition(_SEAL.partition("{}")[0])[0]


def is_generated(text: str) -> bool:
    """Whether nobody has edited the card since it was generated."""
    return text == sealed(unsealed(text))


def front_matter(readme: Path) -> dict[str, Any]:
    """The fields above the text of a card.

    Raises:
        UserError: there is no such file, or no readable front matter in it.
    """
    try:
        found = re.match(r"---\r?\n(.*?)\r?\n---\r?\n", readme.read_text(encoding="utf-8"), re.DOTALL)
        fields = yaml.safe_load(found[1]) if found else None
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UserError(
            f"{readme}: the model card cannot be read ({' '.join(str(error).split())}); mend it."
        ) from error
    if not isinstance(fields, dict):
        raise UserError(f"{readme}: expected YAML fields between two lines of `---` at the beginning; add them.")
    return fields


def licence_of(folder: Path) -> str | None:
    """What a model's own card says; a continued model keeps it."""
    try:
        licence = front_matter(folder / README).get("license")
    except UserError:
        return None  # no card: not known
    return licence if isinstance(licence, str) and licence != "other" else None


def _front_matter(card: Card) -> dict[str, Any]:
    base = card.base_model if isinstance(card.base_model, str | None) else list(card.base_model)
    fields: dict[str, Any] = {
        "base_model": base,
        "language": list(card.languages),
        "license": card.licence,
        "base_model_relation": card.base_model_relation if base else None,
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["qwen3", "continual-pretraining"],
        "datasets": list(card.datasets),
        "model-index": [
            {"name": " ".join(card.name.split()), "results": [_index_entry(score) for score in card.scores]}
        ],
    }
    if not card.scores:
        del fields["model-index"]
    return {key: value for key, value in fields.items() if value}


def _index_entry(score: Score) -> dict[str, Any]:
    name = f"held-out {score.source or score.domain}"
    metrics = {"perplexity": score.perplexity, "bits_per_byte": score.bits_per_byte}
    return {
        "task": {"type": "text-generation", "name": "Text Generation"},
        "dataset": {"name": name, "type": name.replace(" ", "_")},
        "metrics": [{"type": kind, "value": round(value, 4)} for kind, value in metrics.items()],
    }


class _Verbatim(str):
    """A string of ours: not escaped."""


def _inline(value: Any) -> Any:
    """A string as one line of text that ends no table cell and is no markup, whatever a user wrote."""
    if not isinstance(value, str) or isinstance(value, _Verbatim):
        return value
    line = "".join(character for character in " ".join(value.split()) if character.isprintable())
    return "".join(_ENTITIES.get(character, character) for character in line)


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=False,
        finalize=_inline,  # of every expression, so that none is forgotten
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["count"] = lambda value: f"{value:,}"
    environment.filters["number"] = lambda value: f"{value:,.2f}"
    environment.filters["percent"] = lambda value: f"{value:+.1f} %".replace("-", "−")
    return environment.get_template("model_card.md.j2")
