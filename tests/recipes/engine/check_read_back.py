"""Reads every sample that Megatron's datasets deliver for all phases of runs, and says what is not as it must be.

Prints JSON: argument -> sentences. An argument is a run folder, or FOLDER=TRAP with a trap of upstream laid open again.
Every document is found twice: by Megatron's own index files, and by the delivered tokens alone, cut at the separators
and looked up among the documents of the shards and the held-out ones. A program of its own, because the CPU
compatibility layer changes the torch of the process it is switched on in.
"""

import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from data_prep.indexed import Index, read_document, read_index, read_tokens
from recipes.artifacts import read_json
from recipes.blend import Blend, load_blend
from recipes.engine.platform import prepare
from recipes.layout import RunFolder

Tokens = NDArray[np.int64]


class Source(NamedTuple):
    """What the shards hold of one source, by content."""

    index: Index
    training: dict[bytes, int]  # document -> number, in their order
    held_out: set[bytes]
    times: NDArray[np.int64]  # [documents], how often each was given so far


class Phase(NamedTuple):
    number: int
    folder: Path
    blend: Blend
    dataset: Any  # Megatron's BlendedDataset


def main(arguments: list[str]) -> None:
    prepare()
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    print(json.dumps({argument: list(violations(*argument.partition("=")[::2])) for argument in arguments}))


def violations(root: str, trap: str) -> Iterator[str]:
    run = RunFolder(Path(root))
    sources: dict[str, Source] = {}
    for number in sorted(int(path.name) for path in (run.root / "phases").iterdir()):
        phase = open_phase(run, number, trap)
        windows = yield from delivered(phase)
        for position, name in enumerate(phase.blend.prefixes):
            source = sources.setdefault(name, read_source(run, name))
            read = read_packs if phase.blend.packing == "best_fit" else read_stream
            given = yield from read(phase, position, source, windows[position])
            np.add.at(source.times, given, 1)
            if (np.bincount(given, minlength=1) > 1).any() and source.times.min() == 0:
                yield f"phase {number}, {name}: document {np.bincount(given).argmax()} is read twice in the phase"
            if source.times.max() - source.times.min() > 1:
                twice, none = source.times.argmax(), source.times.argmin()
                yield f"phase {number}, {name}: document {twice} is read again before document {none}"
        yield from shares(run, phase, windows)
        yield from named(run, phase)


def open_phase(run: RunFolder, number: int, trap: str) -> Phase:
    from recipes.engine.data_module import PhaseData

    blend = load_blend(run, number)
    data = PhaseData(run.phase(number), blend, micro_batch_size=1)
    data.setup()
    for part in data.dataset.datasets:
        if trap == "pad_is_separator":
            part._pad_token_id = blend.separator_id
        if trap == "cached_loss_mask":
            part.masks_and_position_ids_are_cacheable = True
    return Phase(number, run.phase(number), blend, data.dataset)


def read_source(run: RunFolder, name: str) -> Source:
    prefix = run.shards / name / "documents"
    index = read_index(prefix)
    training = {document: number for number, document in enumerate(contents(prefix))}
    assert len(training) == len(index.lengths)  # exact duplicates were dropped: content says which document it is
    return Source(index, training, set(contents(run.heldout / name)), np.zeros(len(training), np.int64))


def contents(prefix: Path) -> Iterator[bytes]:
    index = read_index(prefix)
    tokens = read_tokens(prefix, index)
    for number in range(len(index.lengths)):
        yield read_document(tokens, index, number).astype(np.int64).tobytes()


def delivered(phase: Phase) -> Any:
    """What training reads: slice -> window of Megatron's sample index -> tokens [sequence_length + 1], pads as -1."""
    windows: list[dict[int, Tokens]] = [{} for _ in phase.blend.prefixes]
    for number in range(phase.blend.samples):
        position = int(phase.dataset.dataset_index[number])
        own = int(phase.dataset.dataset_sample_index[number])
        window = int(phase.dataset.datasets[position].shuffle_index[own])
        if window in windows[position]:
            yield f"phase {phase.number}, {phase.blend.prefixes[position]}: window {window} is delivered twice"
        sample = phase.dataset[number]
        tokens, labels, mask = (sample[key].numpy() for key in ("tokens", "labels", "loss_mask"))
        real = np.append(mask == 1, False) if phase.blend.packing == "best_fit" else np.ones(len(mask) + 1, bool)
        text = np.append(tokens, labels[-1])
        if phase.blend.packing == "best_fit":
            text[1:][~real[:-1]] = -1  # label i is token i + 1
            if (tokens[text[:-1] == -1] != 0).any() or not np.array_equal(real[:-1], np.sort(real[:-1])[::-1]):
                yield f"phase {phase.number}: sample {number} has padding elsewhere than at its end"
        elif not (mask == 1).all():
            yield f"phase {phase.number}: sample {number} has tokens without a loss"
        if not np.array_equal(labels[:-1][mask[:-1] == 1], tokens[1:][mask[:-1] == 1]):
            yield f"phase {phase.number}: the labels of sample {number} are not the next tokens"
        if not np.array_equal(sample["position_ids"].numpy(), np.arange(phase.blend.sequence_length)):
            yield f"phase {phase.number}: sample {number} does not count its positions"
        if "attention_mask" in sample:
            yield f"phase {phase.number}: sample {number} has a dense mask"
        windows[position][window] = text
    return windows


def read_stream(phase: Phase, position: int, source: Source, windows: dict[int, Tokens]) -> Any:
    """The documents of concatenated windows, by the index files and by content; both must say the same."""
    name, length = phase.blend.prefixes[position], phase.blend.sequence_length
    where = f"phase {phase.number}, {name}"
    part = phase.dataset.datasets[position]
    if sorted(windows) != list(range(len(part))):
        yield f"{where}: {len(part) - len(windows)} of {len(part)} windows are not read"
    order = np.asarray(part.document_index)
    listed = read_index(phase.folder / name, whole=False)
    unread = listed.tokens - len(windows) * length
    if not 0 < unread <= length:
        yield f"{where}: {unread} tokens are not read, more than one sample"
    starts = np.cumsum(listed.lengths[order], dtype=np.int64) - listed.lengths[order]
    borders = starts[part.sample_index[:, 0]] + part.sample_index[:, 1]
    if not np.array_equal(borders, np.arange(len(part) + 1) * length):
        yield f"{where}: the windows of the sample index do not follow each other"
    by_index = np.searchsorted(source.index.pointers, listed.pointers[order[starts < borders[-1]]])
    stream = np.concatenate([windows[window][:-1] for window in sorted(windows)])
    by_content = yield from look_up(where, stream, source, phase.blend.separator_id)
    if by_index[: len(by_content)].tolist() != by_content or len(by_index) - len(by_content) > 1:
        yield f"{where}: the index files and the delivered tokens name different documents"
    return by_index[by_index < len(source.times)]


def look_up(where: str, stream: Tokens, source: Source, separator: int) -> Any:
    """The numbers of the whole documents in a stream of tokens that starts with one."""
    numbers = []
    ends = np.flatnonzero(stream == separator) + 1
    for start, end in zip([0, *ends], ends, strict=False):
        document = stream[start:end].tobytes()
        if document in source.held_out:
            yield f"{where}: tokens {start} to {end} are a held-out document"
        elif document not in source.training:
            yield f"{where}: tokens {start} to {end} are no document of the shard"
        numbers.append(source.training.get(document, -1))
    return numbers


def read_packs(phase: Phase, position: int, source: Source, windows: dict[int, Tokens]) -> Any:
    """The documents of packs by content: all pieces of each, but for the end of one that had no room left."""
    name, length = phase.blend.prefixes[position], phase.blend.sequence_length
    where = f"phase {phase.number}, {name}"
    pieces = [cut(document, length) for document in source.training]
    owners: dict[bytes, set[int]] = {}
    for number, parts in enumerate(pieces):
        for part in parts:
            owners.setdefault(part, set()).add(number)
    found: Counter[bytes] = Counter()
    for text in windows.values():
        tokens = text[text >= 0]
        ends = np.union1d(np.flatnonzero(tokens == phase.blend.separator_id) + 1, [len(tokens)])
        found.update(tokens[start:end].tobytes() for start, end in zip([0, *ends], ends, strict=False))
    given = sorted(set().union(*(owners.get(part, {-1}) for part in found if len(owners.get(part, {-1})) == 1)))
    expected = Counter(part for number in given if number >= 0 for part in pieces[number])
    missing = list((expected - found).elements())
    tails = [pieces[number][-len(missing) :] for number in given if number >= 0]
    if missing and not any(Counter(tail) == Counter(missing) for tail in tails):
        yield f"{where}: {len(missing)} pieces of documents are missing"
    if found - expected:
        yield f"{where}: {(found - expected).total()} pieces are read twice, or are of no document"
    return np.array([number for number in given if number >= 0], np.int64)


def cut(document: bytes, length: int) -> list[bytes]:
    tokens = np.frombuffer(document, np.int64)
    return [tokens[offset : offset + length].tobytes() for offset in range(0, len(tokens), length)]


def shares(run: RunFolder, phase: Phase, windows: list[dict[int, Tokens]]) -> Iterator[str]:
    planned = read_json(run.plan)["phases"][phase.number - 1]["sources"]
    written = read_json(phase.folder / "blend.json")["samples"]
    for name, read in zip(phase.blend.prefixes, windows, strict=True):
        if len(read) != written[name]:
            yield f"phase {phase.number}, {name}: {len(read)} samples are read, blend.json says {written[name]}"
        if abs(len(read) - planned[name]["samples"]) > max(1, 0.02 * phase.blend.samples):
            yield f"phase {phase.number}, {name}: {len(read)} samples are read, planned {planned[name]['samples']}"


def named(run: RunFolder, phase: Phase) -> Iterator[str]:
    """The documents that a fault would be blamed on hold the tokens of the sample, from inside the first on."""
    from recipes.engine.sample_ids import documents_of

    for number in range(0, phase.blend.samples, 7):
        name, documents = documents_of(phase.dataset, phase.folder, number)
        packed = phase.blend.packing == "best_fit"
        prefix = phase.folder / name if packed else run.shards / name / "documents"
        index = read_index(prefix, whole=False)
        tokens = read_tokens(prefix, index)
        texts = [read_document(tokens, index, document).astype(np.int64) for document in documents]
        sample = phase.dataset[number]["tokens"].numpy()
        text = np.maximum(np.concatenate(texts), 0)  # padding is read as 0
        if text.tobytes().find(sample.tobytes()) not in range(texts[0].nbytes):
            yield f"phase {phase.number}: sample {number} is not of the documents {documents} of {name}"


if __name__ == "__main__":
    main(sys.argv[1:])
