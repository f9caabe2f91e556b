"""Documents that mean the same, by SemHash (github.com/MinishLab/semhash) with a local model2vec model.

In their order, each document stays that is not similar to one that stays before it.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from recipes.errors import UserError
from recipes.schema import Strict

_BATCH = 1024  # documents embedded at a time
_EXPANSION = {"connectivity": 16, "expansion_add": 128, "expansion_search": 64}  # of the graph: SemHash's own defaults


class SemanticDuplicates(Strict):
    """SemHash. It works in memory: about 2.5 kB and 12 bytes per dimension of the model for every document.

    Off by default, and a threshold is worth something for one model and one corpus only: static vectors of long texts
    resemble each other. With 256-dimensional vectors made from 12,219 Turkish documents by co-occurrence (PPMI, SVD),
    0.95 took an eighth of the laws, more than half of the criminal decisions and web pages on neighbouring topics; 0.75
    took 98 of 100 documents. Read the pairs of a sample first.
    """

    model: str  # the folder of a model2vec static model; nothing is downloaded
    similarity: float = Field(0.95, gt=0, le=1)  # cosine
    within: Literal["source", "corpus"] = "corpus"  # where a document's duplicates are looked for
    maximum_tokens: int | None = Field(512, ge=1)  # of a document, from its start, that make its vector; null: all
    maximum_documents: int = Field(1_000_000, ge=1)  # to compare at once: more are refused


class Pair(NamedTuple):
    """A document that goes, the one before it that it is similar to, and their cosine."""

    document: int
    kept: int
    similarity: float


def semantic_duplicates(texts: Iterable[str], options: SemanticDuplicates) -> tuple[NDArray[np.bool_], list[Pair]]:
    """Which of `texts` go, bool [documents], and why, in their order. Depends on the texts and their order alone.

    Raises:
        UserError: SemHash is not installed, the model is not there or cannot be read, or the documents are too many.
    """
    vectors = _embed(texts, _load_model(options.model), options)
    pairs = _similar(vectors, options.similarity) if len(vectors) else []
    goes = np.zeros(len(vectors), bool)
    goes[[pair.document for pair in pairs]] = True
    return goes, pairs


def refuse_too_many(documents: int, options: SemanticDuplicates) -> None:
    """Raise UserError for more documents than are compared at once."""
    if documents > options.maximum_documents:
        raise UserError(
            f"semantic_duplicates: there are more documents to compare in memory than maximum_documents "
            f"({options.maximum_documents:,}); raise it, or set `within: source`, or leave this step out."
        )


def _load_model(model: str) -> Any:
    """The model; a name that is no folder would be looked up on the hub, so it is refused."""
    if not Path(model).is_dir():
        raise UserError(
            f"semantic_duplicates.model: there is no folder {model!r}; expected that of a model2vec model on this disk "
            f"(model.safetensors, tokenizer.json, config.json), nothing is downloaded."
        )
    try:
        import semhash  # noqa: F401
        from model2vec import StaticModel
    except ImportError as error:
        raise UserError(
            f"semantic_duplicates: {error.name} is not installed; run pip install 'cpt-launcher[semantic]'."
        ) from error
    try:
        return StaticModel.from_pretrained(model)
    except Exception as error:
        raise UserError(
            f"semantic_duplicates.model: {model} cannot be read as a model2vec model ({error}); save it again."
        ) from error


def _embed(texts: Iterable[str], model: Any, options: SemanticDuplicates) -> NDArray[np.float32]:
    """Document vectors, float32 [documents, dimensions]."""
    vectors = [np.empty((0, model.dim), np.float32)]
    documents = 0
    for batch in _batches(texts):
        documents += len(batch)
        refuse_too_many(documents, options)
        encoded = model.encode(batch, max_length=options.maximum_tokens, use_multiprocessing=False)
        vectors.append(encoded.astype(np.float32))
    return np.concatenate(vectors)


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    iterator = iter(texts)
    while batch := list(islice(iterator, _BATCH)):
        yield batch


def _similar(vectors: NDArray[np.float32], similarity: float) -> list[Pair]:
    """SemHash over vectors, with numbers in place of texts, and an index that one thread fills: the order decides."""
    from semhash import SemHash
    from semhash.index import Index
    from usearch.index import Index as Graph
    from vicinity.backends.usearch import UsearchArgs, UsearchBackend

    dimensions = vectors.shape[1]
    graph = Graph(ndim=dimensions, metric="cos", dtype="f32", **_EXPANSION)
    graph.add(np.arange(len(vectors)), vectors, threads=1)
    backend = UsearchBackend(graph, UsearchArgs(dim=dimensions, **_EXPANSION))
    numbers = [[{"text": str(number)}] for number in range(len(vectors))]
    found = SemHash(Index(vectors, numbers, backend), None, ["text"], was_string=True).self_deduplicate(similarity)
    pairs = [Pair(int(entry.record), int(entry.duplicate_of), entry.score) for entry in found.filtered]
    return sorted(pairs)
