"""What a model scored: one JSON artifact per model, valid for exactly its inputs, and comparisons between them."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError, computed_field

from evaluation.heldout import Encoded
from recipes.artifacts import matching_receipt, read_json, write_json
from recipes.errors import UserError


class Score(BaseModel):
    """A sum of negative log-likelihoods over some text.

    `tokens` counts the predicted tokens, `bytes` the UTF-8 bytes of exactly the scored text, `nll` is in nats.
    """

    model_config = ConfigDict(frozen=True)

    tokens: int
    bytes: int
    nll: float

    @computed_field  # type: ignore[prop-decorator]
    @property
    def perplexity(self) -> float:
        """exp of the mean over tokens; comparable only between models with the same tokenizer."""
        return math.exp(self.nll / self.tokens)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def bits_per_byte(self) -> float:
        """nll in bits over bytes; comparable between tokenizers (idea: nanochat, loss_eval.py)."""
        return self.nll / math.log(2) / self.bytes


class Result(BaseModel):
    """The artifact of one model: who it is, what it was scored on, and its scores per source and per domain."""

    model_config = ConfigDict(frozen=True)

    name: str
    kind: Literal["model", "trigram"]
    path: str | None  # folder of the model
    parameters: int | None
    inputs: dict[str, Any]  # digests of weights, tokenizer and held-out tokens, window length
    versions: dict[str, str]
    sources: dict[str, Score]
    domains: dict[str, Score]
    source_domains: dict[str, str]


class Change(BaseModel):
    """From the base to a phase, per domain, in percent; below zero is better."""

    phase: str
    perplexity: dict[str, float]
    bits_per_byte: dict[str, float]


def score_by(encoded: Encoded, nll: np.ndarray) -> tuple[dict[str, Score], dict[str, Score]]:
    """Add up `nll` (float64, nats, one per document) per source and per domain.

    Raises:
        UserError: a sum is not a number, or so large that no perplexity can be stated.
    """
    by_source = _group(encoded, nll, [d.source for d in encoded.documents])
    by_domain = _group(encoded, nll, [d.domain for d in encoded.documents])
    return by_source, by_domain


def compare(base: Result, phases: Sequence[Result]) -> list[Change]:
    """The change of every phase against the base.

    Raises:
        UserError: the two were not scored on the same tokens of the same text in the same windows.
    """
    return [_change(base, phase) for phase in phases]


def stored_result(path: Path, inputs: Mapping[str, Any]) -> Result | None:
    """The result at `path` if it was written for exactly these inputs, else None."""
    try:
        receipt = matching_receipt(path, inputs)
        return Result.model_validate(receipt) if receipt else None
    except (UserError, ValidationError):  # damaged or from an older version: score again
        return None


def write_result(path: Path, result: Result) -> None:
    """Write the artifact, atomically."""
    write_json(path, result.model_dump(mode="json"))


def read_result(path: Path) -> Result:
    """Read an artifact.

    Raises:
        UserError: missing, not JSON, or not a result.
    """
    try:
        return Result.model_validate(read_json(path))
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise UserError(
            f"{path}: expected an evaluation result (field `{where}`); run the evaluation again."
        ) from error


def _group(encoded: Encoded, nll: np.ndarray, labels: Iterable[str]) -> dict[str, Score]:
    table: dict[str, list[float]] = {}
    for label, document, ids, value in zip(labels, encoded.documents, encoded.ids, nll.tolist(), strict=True):
        row = table.setdefault(label, [0, 0, 0.0])
        for column, amount in enumerate((len(ids), len(document.text.encode()), value)):
            row[column] += amount
    return {label: _score(label, *row) for label, row in sorted(table.items())}


def _score(label: str, tokens: float, size: float, nll: float) -> Score:
    if not 0 <= nll / tokens < 700:  # also false for NaN; exp(710) has no float64
        raise UserError(
            f"the loss on {label} is {nll / tokens:.4g} nats per token, which is no usable number; the weights hold "
            f"NaN, infinite or huge values: check the export."
        )
    return Score(tokens=int(tokens), bytes=int(size), nll=nll)


def _change(base: Result, phase: Result) -> Change:
    for what in ("heldout", "sequence_length"):
        if base.inputs.get(what) != phase.inputs.get(what):
            raise UserError(
                f"{base.name} and {phase.name} were scored on different text, tokens or windows ({what} differs), so "
                f"their perplexities do not compare; evaluate both with the same held-out folder, tokenizer and recipe."
            )
    perplexity, bits_per_byte = (
        {
            domain: 100 * (getattr(phase.domains[domain], measure) / getattr(score, measure) - 1)
            for domain, score in base.domains.items()
        }
        for measure in ("perplexity", "bits_per_byte")
    )
    return Change(phase=phase.name, perplexity=perplexity, bits_per_byte=bits_per_byte)
