"""A made-up run: plan, training log and results, for the report's tests."""

import math

from evaluation.metrics import HeldOutLoss, Step
from evaluation.results import Result, Score
from recipes.load import load_recipe
from recipes.plan import Plan, SourceSize, make_plan
from recipes.schema import Recipe

DOMAINS = {"laws": "legal", "decisions": "legal", "wiki": "general", "english": "replay"}


def recipe() -> Recipe:
    return load_recipe("qwen3_tiny")


def plan() -> Plan:
    return make_plan(recipe(), [SourceSize(name, domain, 500_000) for name, domain in DOMAINS.items()])


def steps() -> list[Step]:
    made, total = [], 0
    for phase in plan().phases:
        for iteration in range(1, 9):
            total += 2048
            loss = 6 - 0.01 * len(made)
            made.append(
                Step(phase=phase.number, iteration=iteration, tokens=2048 * iteration, tokens_total=total, loss=loss)
            )
    return made


def validations() -> list[HeldOutLoss]:
    """At the start, where one domain was not a number, and at the ends of phases."""
    ends = [(0, 0, 0), *((step.phase, step.iteration, step.tokens_total) for step in steps() if step.iteration == 8)]
    return [
        HeldOutLoss(
            phase=max(1, phase),
            iteration=iteration,
            tokens_total=tokens,
            validation={"legal": 7 - 0.1 * phase, "replay": 5 + 0.1 * phase if phase else None},
        )
        for phase, iteration, tokens in ends
    ]


def result(name: str, legal: float, general: float, kind: str = "model") -> Result:
    """A result whose perplexity is `legal` on legal text and `general` elsewhere."""
    perplexity = {source: legal if domain == "legal" else general for source, domain in DOMAINS.items()}
    sources = {source: Score(tokens=100, bytes=400, nll=100 * math.log(value)) for source, value in perplexity.items()}
    domains = {domain: sources[source] for source, domain in DOMAINS.items()}
    return Result.model_validate(
        {
            "name": name,
            "kind": kind,
            "path": f"runs/x/{name}" if kind == "model" else None,
            "parameters": 3_000_000 if kind == "model" else None,
            "inputs": {"heldout": "a", "sequence_length": 256, "trained_on": {"wiki": "sha256"}},
            "versions": {},
            "sources": sources,
            "domains": domains,
            "source_domains": DOMAINS,
        }
    )
