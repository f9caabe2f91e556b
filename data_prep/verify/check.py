"""Verify whatever a path names: a run, its shards, a source, a phase, or a dataset of anybody."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

from rich.progress import Progress

from data_prep.indexed import data_file
from data_prep.verify.content import INNER, Content, Rule, read_content
from data_prep.verify.dataset import check_dataset
from data_prep.verify.phase import check_phase
from data_prep.verify.records import Plan, read_record
from data_prep.verify.report import Report
from data_prep.verify.source import Source, check_heldout, check_leftovers, check_source
from data_prep.verify.target import Target, find_target
from recipes.errors import UserError
from recipes.layout import RunFolder


def check(
    path: Path,
    full: bool = False,
    workers: int = 1,
    vocab_size: int | None = None,
    separator_id: int | None = None,
    progress: Progress | None = None,
) -> Report:
    """Check what lies at `path`; a file of a run is checked with the folder that vouches for it.

    Args:
        path: a run folder, its shards/, heldout/ or phases/, a source, a phase, or a dataset: prefix, .bin or .idx.
        full: read every byte too, `workers` files at a time.
        vocab_size, separator_id: of a dataset without a receipt; what is not given is not checked.

    Raises:
        UserError: there is nothing to check.
    """
    report = Report(full)
    target = find_target(Path(os.path.normpath(path.absolute())))
    contents = _check_structure(report, target)
    for prefix in target.datasets:
        contents += _check_dataset(report, prefix, vocab_size, separator_id)
    if full:
        _read_all(report, contents, workers, progress or Progress(disable=True))
    return report


def structural(run: RunFolder, phases: Sequence[int]) -> None:
    """Check the structure of what `phases` train on: their slices, the shards, and what is held out of them.

    Raises:
        UserError: the first problem.
    """
    report = Report()
    _check_structure(report, Target(heldout=run.heldout, phases=tuple(run.phase(number) for number in phases)))
    for problem in report.problems:
        raise UserError(f"{problem}.")


def _check_structure(report: Report, target: Target) -> list[Content]:
    """Check everything but bare datasets; returns the files that full mode reads."""
    sources: dict[Path, Source] = {}

    def source_at(folder: Path) -> Source:
        if folder not in sources:
            sources[folder] = check_source(report, folder)
        return sources[folder]

    contents: list[Content] = []
    for folder in target.parents:
        check_leftovers(report, folder)
    for folder in target.sources:
        source_at(folder)
    if target.plan:
        read_record(report, target.plan, Plan, "run cpt data mix again, which writes it anew")
    if target.heldout:
        contents += check_heldout(report, target.heldout, source_at)
    for folder in target.phases:
        contents += check_phase(report, folder, source_at)
    return [*(content for source in sources.values() for content in source.contents), *contents]


def _check_dataset(report: Report, prefix: Path, vocab_size: int | None, separator_id: int | None) -> list[Content]:
    """Check a dataset that nobody vouches for."""
    remedy = "write this dataset again, or copy it again from where it is whole"
    dataset = check_dataset(report, prefix, remedy, single=False)
    return [Content(data_file(prefix), remedy, rule=Rule(dataset, vocab_size, separator_id))] if dataset else []


def _read_all(report: Report, contents: list[Content], workers: int, progress: Progress) -> None:
    """Read the files that are there, the largest first; their problems come in the order of the files."""
    there = [content for content in contents if content.path.is_file()]
    sizes = [content.path.stat().st_size for content in there]
    task = progress.add_task("verifying", total=sum(sizes))
    stopped = Event()

    def advance(count: int) -> None:
        if stopped.is_set():
            raise InterruptedError  # nobody waits for the result
        progress.advance(task, count)

    pool = ThreadPoolExecutor(workers)
    try:
        largest_first = sorted(range(len(there)), key=lambda number: -sizes[number])
        results = {number: pool.submit(read_content, there[number], advance) for number in largest_first}
        for number, content in enumerate(there):
            for problem in results[number].result():
                # Whether a text may spell the separator is for the one to say who made the dataset.
                bare = content.digest is None and problem.check == INNER
                (report.warnings if bare else report.problems).append(problem)
    finally:
        stopped.set()
        pool.shutdown(cancel_futures=True)
