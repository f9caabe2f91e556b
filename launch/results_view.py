"""Results on a terminal: what each phase scored, whether the base beats a trigram, where the model is."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from evaluation.results import Change, Result, compare

GENERAL = "general"


def show_results(terminal: Console, models: Sequence[Result], trigram: Result | None, page: Path, model: Path) -> None:
    """Print the table of `models` (the base first) and how to load the last one."""
    terminal.print(results_table(models, trigram))
    if trigram and GENERAL in models[0].domains:
        terminal.print(_base_against_trigram(models[0], trigram), highlight=False)
    terminal.print(_legend(page, model), highlight=False, markup=False, soft_wrap=True)


def results_table(models: Sequence[Result], trigram: Result | None) -> Table:
    """Perplexity, bits per byte and change per domain; `models` start with the base."""
    domains = list(models[0].domains)
    table = Table(
        title="held-out text: perplexity, bits per byte, change of perplexity since the base", title_justify="left"
    )
    table.add_column("model")
    for domain in domains:
        table.add_column(domain, justify="right")
    changes: list[Change | None] = [None, *compare(models[0], models[1:])]
    for model, change in zip(models, changes, strict=True):
        table.add_row(model.name, *(_cell(model, domain, change) for domain in domains))
    if trigram:
        table.add_section()
        table.add_row("trigram on the base's text", *(_cell(trigram, domain, None) for domain in domains))
    return table


def _cell(result: Result, domain: str, change: Change | None) -> str:
    score = result.domains[domain]
    percent = f"{change.perplexity[domain]:+7.1f} %" if change else " " * 9
    return f"{score.perplexity:8,.1f}  {score.bits_per_byte:.3f}  {percent}"


def _base_against_trigram(base: Result, trigram: Result) -> str:
    ours, theirs = base.domains[GENERAL].perplexity, trigram.domains[GENERAL].perplexity
    verdict = "beats" if ours < theirs else "does not beat"
    return (
        f"on held-out {GENERAL} text the base ({ours:,.1f}) {verdict} a Kneser-Ney trigram of the same training text "
        f"({theirs:,.1f})"
    )


def _legend(page: Path, model: Path) -> str:
    return (
        f"\nreport: {page}\nmodel:  {model}\n\n"
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n"
        f'model = AutoModelForCausalLM.from_pretrained("{model}")\n'
        f'tokenizer = AutoTokenizer.from_pretrained("{model}")'
    )
