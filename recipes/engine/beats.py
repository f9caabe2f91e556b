"""What the ranks of a phase publish of themselves, and which of them the others wait for."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

WAITING, READING = "waiting for other ranks", "reading data"


class Beat(NamedTuple):
    """What a rank publishes."""

    tick: int  # times that it was published
    progress: int  # micro batches and steps begun and ended
    limit: float  # seconds that this may take until there is progress
    iteration: int  # counted from 1; 0 before the first
    samples: list[int]  # of the micro batch that it is at
    stage: str
    place: str  # innermost line of Python
    host: str
    process: int


class Observed(NamedTuple):
    """The newest beat of a rank, and for how many seconds it has been so."""

    beat: Beat
    silent: float  # since it was published
    stuck: float  # since it had progress


def hung(ranks: Sequence[Observed], silence: float) -> list[int]:
    """The ranks that have hung; empty while any rank that others may wait for has time left.

    Whoever waits for other ranks is not to blame: those are that publish nothing, then those that do something else.
    Where all wait for each other it is those that are furthest behind.

    Args:
        silence: seconds without a beat that are too many, whatever a rank is doing.
    """
    silent = [number for number, one in enumerate(ranks) if one.silent > silence]
    if silent:
        return silent
    late = [number for number, one in enumerate(ranks) if one.stuck > one.beat.limit]
    busy = [number for number, one in enumerate(ranks) if one.beat.stage != WAITING]
    if busy:
        late = [number for number in late if number in busy]
    elif len(late) < len(ranks):
        return []
    least = min((ranks[number].beat.progress for number in late), default=0)
    return [number for number in late if ranks[number].beat.progress == least]


def sentence(found: Sequence[int], ranks: Sequence[Observed], silence: float, named: Callable[[list[int]], str]) -> str:
    """Rank, host, iteration, samples and what it was doing, of the first of `found`, and how many more there are."""
    beat, silent, stuck = ranks[found[0]]
    others = f" (and {len(found) - 1} more ranks)" if len(found) > 1 else ""
    samples = f" at {named(beat.samples)}" if beat.samples else ""
    doing = f"{beat.stage}{samples}, in {beat.place}"
    if silent > silence:
        what = f"has not been heard of for {silent / 60:.1f} minutes: it, or its host, has stopped; it was {doing}"
    else:
        what = f"has made no progress for {stuck / 60:.1f} minutes: {doing}; the stacks of all ranks are in their logs"
    when = f"iteration {beat.iteration}" if beat.iteration else "before the first iteration"
    return (
        f"{when}: rank {found[0]} on host {beat.host}, process {beat.process}{others} {what}. "
        f"The job ends here; start it again to go on from the last checkpoint."
    )
