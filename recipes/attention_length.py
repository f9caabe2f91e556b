"""How many tokens attention reaches over where it stays inside documents: what its FLOPs are counted by."""

import math


def expected_attention_length(document_tokens: float, sequence_length: int) -> float:
    """For documents that are laid end to end and cut into sequences, where their lengths are not known.

    A token sees the tokens of its document and its sequence before it. Over n tokens in a row these are n² / 2 pairs,
    as causal attention over n tokens has; so the length is the mean n of all tokens. Documents are taken to end after
    every token with the same probability, 1 / `document_tokens`: two tokens at distance t are in one document with
    probability exp(-t / document_tokens), and in one sequence with 1 - t / sequence_length.
    """
    share = document_tokens / sequence_length
    return 2 * document_tokens * (1 + share * math.expm1(-1 / share))
