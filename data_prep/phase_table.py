"""What one phase reads, in numbers: asked and reached, per source."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from data_prep.index_checks import chunks
from data_prep.packing import Packs
from data_prep.slices import Cursor, Slice, Stream
from recipes.plan import PlannedPhase
from recipes.schema import Strict


class CutPhase(NamedTuple):
    """The documents of a phase, by source."""

    slices: dict[str, Slice]
    after: dict[str, Cursor]
    packs: dict[str, Packs]  # with best-fit packing only


class SourceRow(Strict):
    """What one source gives to one phase."""

    source: str
    domain: str
    documents: int  # listed in the slice, once for every time that they are read
    repeated: int  # of them, read before in this phase or an earlier one
    minimum_document_tokens: int  # of a document; 1: any
    tokens: int  # listed in the slice
    samples_asked: int
    samples: int
    share_asked: float  # of the phase's samples
    share_reached: float
    epochs: float  # times the source is read in this phase: tokens / tokens of the source
    epochs_so_far: float  # and up to the end of it
    most_readings: int  # times that any one document was read up to the end of the phase
    truncated: float  # fraction of the documents that no sample holds whole: counted for packs, expected otherwise
    truncated_fitting: float  # fraction of the documents that none does though it could
    padding: float  # fraction of the samples that holds no token


class PhaseTable(Strict):
    """The mixture of one phase as it was built."""

    number: int
    name: str
    sequence_length: int
    iterations: int
    samples: int
    tokens: int  # samples × sequence_length
    sources: list[SourceRow]
    skipped: bool = False  # it was there already
    rebuilt: str = ""  # why it was built again; empty if it was there already, or never before


def phase_table(phase: PlannedPhase, cut: CutPhase, streams: Mapping[str, Stream]) -> PhaseTable:
    """The table of a phase that was cut into `cut`."""
    return PhaseTable(
        number=phase.number,
        name=phase.name,
        sequence_length=phase.sequence_length,
        iterations=phase.iterations,
        samples=phase.samples,
        tokens=phase.tokens,
        sources=[_row(phase, streams[name], cut) for name in phase.sources],
    )


def _row(phase: PlannedPhase, stream: Stream, cut: CutPhase) -> SourceRow:
    planned, piece, after = phase.sources[stream.name], cut.slices[stream.name], cut.after[stream.name]
    if packs := cut.packs.get(stream.name):
        truncated, fitting, padding = packs.truncated(stream.lengths[piece.documents]), 0.0, packs.padding
    else:
        truncated, fitting = expected_truncation(stream.lengths, piece.documents, phase.sequence_length)
        padding = 0.0
    return SourceRow(
        source=stream.name,
        domain=stream.domain,
        documents=len(piece.documents),
        repeated=piece.repeated,
        minimum_document_tokens=planned.minimum_document_tokens,
        tokens=piece.tokens,
        samples_asked=planned.samples,
        samples=piece.samples,
        share_asked=planned.share,
        share_reached=piece.samples / phase.samples,
        epochs=piece.tokens / stream.tokens,
        epochs_so_far=after.tokens / stream.tokens,
        most_readings=after.epoch + int(after.readings.max()),
        truncated=truncated,
        truncated_fitting=fitting,
        padding=padding,
    )


def expected_truncation(
    lengths: NDArray[np.int32], documents: NDArray[np.int32], sequence_length: int
) -> tuple[float, float]:
    """Fractions of `documents` that concatenation is expected to cut: all, and those that would fit into a sample.

    Megatron shuffles the documents, puts them one after the other and ends a sample after every sequence_length tokens.
    A document of ℓ tokens then starts anywhere within a sample, and is cut with probability min(1, (ℓ − 1) / L): an
    estimate, exact in the mean over all orders but for the ends of the slice.
    """
    cut = fitting = 0
    for part in chunks(len(documents)):
        inside = np.minimum(lengths[documents[part]] - 1, sequence_length)
        cut += int(inside.sum(dtype=np.int64))
        fitting += int(inside.sum(dtype=np.int64, where=inside < sequence_length))
    whole = max(1, len(documents)) * sequence_length
    return cut / whole, fitting / whole
