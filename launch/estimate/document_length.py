"""How many tokens attention reaches over in a phase with document masking, and how that is known."""

from dataclasses import dataclass

from recipes.attention_length import expected_attention_length
from recipes.errors import UserError
from recipes.layout import RunFolder
from recipes.schema import Recipe


@dataclass(frozen=True)
class DocumentLength:
    """What attention is counted by."""

    tokens: float
    origin: str  # the end of a sentence


def document_length(recipe: Recipe, number: int, run: RunFolder, mean: int | None) -> DocumentLength | None:
    """Of phase `number` (from 1); None if it masks no documents.

    Args:
        run: whose shards are asked, if they are built.
        mean: tokens of a document, which is believed instead.

    Raises:
        UserError: `mean` is given for a phase without document masking.
    """
    phase = recipe.phase(number)
    if not phase.document_masking:
        if mean:
            raise UserError(
                f"phase {phase.name}: --document-tokens is for phases with document_masking; leave it out, or add "
                f"--set phases.{number}.document_masking=true."
            )
        return None
    if mean:
        tokens = expected_attention_length(mean, phase.sequence_length)
        return DocumentLength(tokens, f"expected of documents of {mean:,} tokens on average, as if cut at random")
    from data_prep.masked_attention import attention_length

    if (found := attention_length(recipe, number, run)) is not None:
        return DocumentLength(found, f"counted in the documents of {run.shards}")
    return DocumentLength(
        phase.sequence_length,
        f"whole sequences, because the documents are not known, so FLOPs and time are overstated; build the shards of "
        f"{run.root}, or give --document-tokens",
    )
