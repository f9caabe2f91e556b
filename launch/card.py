"""What the model card of an export says, from the recipe and the receipts of the run's shards."""

from convert.model_card import Card
from recipes.artifacts import read_json
from recipes.layout import RunFolder
from recipes.schema import Recipe


def model_card(recipe: Recipe, run: RunFolder, phase: int) -> Card:
    """Base, languages and data up to the end of `phase`."""
    sources = sorted({source for number in range(1, phase + 1) for source in _prefixes(run, number)})
    receipts = [read_json(run.shards / source / "receipt.json") for source in sources]
    languages = {receipt["language"] for receipt in receipts}
    return Card(
        name=f"{recipe.name}, phase {phase} {recipe.phase(phase).name}",
        base_model=recipe.model.hf_id,
        languages=tuple(sorted(code for code in languages if len(code) == 2)),  # "code" is a label of ours
        data=tuple(f"{receipt['source']} ({receipt['domain']}): {receipt['licence']}" for receipt in receipts),
    )


def _prefixes(run: RunFolder, number: int) -> list[str]:
    return list(read_json(run.phase(number) / "blend.json")["prefixes"])
