"""How often the documents of a source are read, as far as it is known before documents are chosen.

The minimum lengths that phases ask for divide a source's documents into classes. A phase takes the documents that were
read least often first, in a random order: so among the classes that are long enough for it, those read least often
gain, each in proportion to what is left of it until it has been read once more.
"""

from collections.abc import Collection, Mapping
from fractions import Fraction
from typing import NamedTuple


class SourceSize(NamedTuple):
    """What a corpus holds of one source, held-out documents not counted."""

    name: str
    domain: str
    tokens: int
    long: Mapping[int, int] = {}  # tokens in documents of at least so many tokens, where a recipe asks and it is known

    def at_least(self, minimum: int) -> int:
        """Tokens in documents of at least `minimum` tokens; where that is not known, all."""
        return self.long.get(minimum, self.tokens)


class Readings(NamedTuple):
    """What was read of one source, by class: documents shorter than any minimum first."""

    minimums: tuple[int, ...]  # tokens, ascending
    tokens: tuple[int, ...]  # in all documents of the class
    read: tuple[Fraction, ...]  # tokens

    @property
    def most(self) -> float:
        """Times that the documents of the class that was read most often were read."""
        return float(max(read / tokens for read, tokens in zip(self.read, self.tokens, strict=True) if tokens))

    def left(self, minimum: int, max_epochs: float) -> int:
        """Tokens that may still be read in documents of at least `minimum` tokens."""
        most = Fraction(max_epochs)
        return int(sum(most * self.tokens[at] - self.read[at] for at in self._open(minimum)))

    def after(self, minimum: int, tokens: int) -> "Readings":
        """When `tokens` more were read in documents of at least `minimum` tokens."""
        read, missing, classes = list(self.read), Fraction(tokens), self._open(minimum)
        while missing:
            times = min(read[at] // self.tokens[at] for at in classes)
            room = {at: max(Fraction(0), (times + 1) * self.tokens[at] - read[at]) for at in classes}
            share = min(Fraction(1), missing / sum(room.values()))
            for at in classes:
                read[at] += share * room[at]
            missing -= share * sum(room.values())
        return self._replace(read=tuple(read))

    def _open(self, minimum: int) -> list[int]:
        return [at for at, least in enumerate(self.minimums) if least >= minimum and self.tokens[at]]


def unread(size: SourceSize, minimums: Collection[int]) -> Readings:
    """A source of which nothing was read, divided by `minimums`."""
    steps = sorted({1, *minimums})
    above = [*(size.at_least(minimum) for minimum in steps[1:]), 0]
    tokens = tuple(size.at_least(minimum) - longer for minimum, longer in zip(steps, above, strict=True))
    return Readings(tuple(steps), tokens, (Fraction(0),) * len(steps))
