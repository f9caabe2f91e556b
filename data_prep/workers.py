"""Tasks over processes: a pool whose workers are set up once, or this process alone when one is enough."""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection, forkserver
from multiprocessing.context import ForkServerContext
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from recipes.errors import UserError

# Forked from a process without threads, so that neither a progress bar's thread nor a library's pool is inherited.
CONTEXT: ForkServerContext = multiprocessing.get_context("forkserver")
PRELOADED_TOKENIZER, MAIN_FILE = "CPT_PRELOADED_TOKENIZER", "CPT_MAIN_FILE"  # variables: no other way to tell it
_PRELOADED = ["data_prep.preloaded", "data_prep.tokenize_part", "data_prep.ingest.json_lines"]

Task = TypeVar("Task")
Result = TypeVar("Result")


def available_cores() -> int:
    """Cores that this process may use, which in a batch job are fewer than the machine has."""
    return len(os.sched_getaffinity(0))


def start_server(tokenizer: Path | None = None) -> None:
    """Let the process that forks the workers start already, with a tokenizer for all of them: it takes a second."""
    if tokenizer:
        os.environ[PRELOADED_TOKENIZER] = str(tokenizer)
    os.environ[MAIN_FILE] = str(Path(getattr(sys.modules["__main__"], "__file__", None) or "").absolute())
    CONTEXT.set_forkserver_preload(_PRELOADED)
    forkserver.ensure_running()


class Pool:
    """`workers` processes, each prepared by `setup(*arguments)`; with one worker, this process does the tasks."""

    def __init__(self, workers: int, setup: Callable[..., None], *arguments: Any) -> None:
        self.workers = workers
        if workers > 1:
            start_server()
            self._executor = ProcessPoolExecutor(workers, CONTEXT, _start, (setup, arguments))
        else:
            setup(*arguments)

    def run(self, function: Callable[[Task], Result], tasks: Iterable[Task]) -> Iterator[tuple[Task, Result]]:
        """Each task with its result, as they finish; tasks start in the order given, the first while others are made.

        Raises:
            UserError: a task raised it, or a worker was killed.
        """
        if self.workers == 1:
            for task in tasks:
                yield task, function(task)
            return
        try:
            futures: dict[Future[Result], Task] = {self._executor.submit(function, task): task for task in tasks}
            for future in as_completed(futures):
                yield futures.pop(future), future.result()
        except BrokenProcessPool as error:
            raise UserError(
                f"one of {self.workers} worker processes was killed, perhaps for want of memory; run the same command "
                f"again with fewer --workers."
            ) from error

    def __enter__(self) -> "Pool":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.workers > 1:
            self._executor.shutdown(cancel_futures=True)


def _start(setup: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is interrupted and says so
    threading.Thread(target=_end_with_parent, daemon=True).start()
    setup(*arguments)


def _end_with_parent() -> None:
    """A worker that outlives a killed command would write beside the next one."""
    parent = multiprocessing.parent_process()
    if parent:
        connection.wait([parent.sentinel])
        os._exit(1)
