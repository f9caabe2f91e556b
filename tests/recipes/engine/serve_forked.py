"""Trains phases of tiny runs in forked processes, one job after another, after one import of NeMo; kills what is asked.

A job is a line of JSON on standard input:
    {"run": FOLDER, "recipe": FILE, "phase": 1, "ranks": 2,
     "notes": FOLDER for logs, "kill": [RANK, EVENT] or [RANK, SECONDS], "fault": NAME of a function here,
     "planted": [WHAT, SAMPLE] of planted_faults.py}
and its answer one on standard output: {"status": exit status of each rank, minus the signal, "error": sentence of the
first rank that had one, "said": lines for people, "events": [of each rank], "seconds": wall time}. An event is an
operation on a file or folder of the run, by the rank or a writer that it forked; RANK is killed (-9) just before that
one, or after so many seconds (a number with a point). As a launcher does, the others are killed shortly after.
"""

import contextlib
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import planted_faults

from launch.environment import free_port
from recipes.artifacts import write_json
from recipes.cluster import Cluster
from recipes.engine.platform import prepare
from recipes.errors import UserError
from recipes.layout import RunFolder
from recipes.load import load_recipe
from recipes.processes import die_with_parent

LIMIT_SECONDS = 120.0
GRACE_SECONDS = 0.02
FILE_EVENTS = {"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.listdir", "os.scandir", "shutil.rmtree"}


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    prepare()
    import recipes.engine.train  # noqa: F401

    for line in sys.stdin:
        print(json.dumps(train(json.loads(line))), file=answers, flush=True)


def train(job: dict[str, Any]) -> dict[str, Any]:
    run, ranks = RunFolder(Path(job["run"])), job.get("ranks", 1)
    notes = Path(job["notes"])
    (notes / "said.jsonl").write_text("")
    begun, port = time.monotonic(), str(free_port())
    pids: dict[int, int] = {}
    for rank in range(ranks):
        os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(ranks), LOCAL_WORLD_SIZE=str(ranks))
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
        if (child := os.fork()) == 0:
            die_with_parent()
            log = os.open(notes / f"log_{rank}.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
            os.dup2(log, 1), os.dup2(log, 2)
            os._exit(as_one_rank(job, run, rank, notes))
        pids[child] = rank
    status = wait(pids, ranks, job.get("kill"), begun)
    found = [note(notes / f"{rank}.json") for rank in range(ranks)]
    return {
        "status": status,
        "error": next((one["error"] for one in found if one.get("error")), None),
        "said": [json.loads(line) for line in (notes / "said.jsonl").read_text().splitlines()],
        "events": [one.get("events") for one in found],
        "seconds": time.monotonic() - begun,
    }


def wait(pids: dict[int, int], ranks: int, kill: list[Any] | None, begun: float) -> list[int]:
    """The exit status of every rank; those that are left when one failed are killed, as by torchrun."""
    status, left = [0] * ranks, dict(pids)
    die_at = begun + LIMIT_SECONDS
    if kill and isinstance(kill[1], float):
        die_at = begun + kill[1]
    while left:
        pid, code = os.waitpid(-1, os.WNOHANG)
        if pid in left:
            status[left.pop(pid)] = os.waitstatus_to_exitcode(code)
            if status[pids[pid]]:
                time.sleep(GRACE_SECONDS)
                for other in left:
                    os.kill(other, signal.SIGKILL)
        elif time.monotonic() > die_at:
            victim = [pid for pid, rank in left.items() if kill is None or rank == kill[0]] or list(left)
            os.kill(victim[0], signal.SIGKILL)
            die_at = begun + LIMIT_SECONDS + 1
        else:
            time.sleep(0.002)
    return status


def note(path: Path) -> dict[str, Any]:
    content = json.loads(path.read_text()) if path.is_file() else {}
    path.unlink(missing_ok=True)
    return content


def as_one_rank(job: dict[str, Any], run: RunFolder, rank: int, notes: Path) -> int:
    from recipes.engine.train import Outside, train_phase

    ranks = job.get("ranks", 1)
    cluster = Cluster(name="forked", nodes=1, ranks_per_node=ranks, cpus_per_node=ranks, memory_per_node_gb=2)
    answer: dict[str, Any] = {}
    count = count_events(str(run.root), job.get("kill"), rank)
    if fault := job.get("fault"):
        globals()[fault](run)
    if planted := job.get("planted"):
        planted_faults.plant(*planted)
    status = 0
    recipe = load_recipe(job["recipe"])

    def say(line: str) -> None:
        with (notes / "said.jsonl").open("a") as stream:
            stream.write(json.dumps(line) + "\n")

    try:
        outside = Outside(say, lambda: Path(recipe.tokenizer.path), lambda: None)
        train_phase(recipe, cluster, job["phase"], run, outside)
    except UserError as error:
        answer["error"], status = str(error), 2
    except Exception as error:  # noqa: BLE001
        import traceback

        traceback.print_exc()
        answer["error"], status = f"{type(error).__name__}: {error}", 1
    answer["events"] = count[0]
    write_json(notes / f"{rank}.json", answer)
    sys.stdout.flush(), sys.stderr.flush()
    return status


def count_events(root: str, kill: list[Any] | None, rank: int) -> list[int]:
    """Count the file events of this process from now on; a fork goes on counting for itself, and kills this one."""
    count, me = [0], os.getpid()
    fatal = kill[1] if kill and kill[0] == rank and isinstance(kill[1], int) else None

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in FILE_EVENTS and arguments and root in os.fsdecode(arguments[0] if is_path(arguments[0]) else ""):
            count[0] += 1
            if count[0] == fatal:
                os.kill(me, signal.SIGKILL)

    sys.addaudithook(hook)
    return count


def is_path(value: Any) -> bool:
    return isinstance(value, str | bytes | os.PathLike)


def limit_file_size(run: RunFolder) -> None:
    """From the first save on, no file may grow beyond 100 kB: a write fails in its midst, as at the end of a quota."""
    import resource

    from recipes.engine.checkpoint import PhaseCheckpoint

    original = PhaseCheckpoint._save_checkpoint

    def limited(self: Any, trainer: Any, filepath: str) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        original(self, trainer, filepath)

    PhaseCheckpoint._save_checkpoint = limited


def save_slowly(run: RunFolder) -> None:
    """The first save takes longer than a step may."""
    from recipes.engine.checkpoint import PhaseCheckpoint

    original = PhaseCheckpoint._save_checkpoint

    def slow(self: Any, trainer: Any, filepath: str) -> None:
        original(self, trainer, filepath)
        if trainer.global_step == 3:
            time.sleep(12)

    PhaseCheckpoint._save_checkpoint = slow


def start_again_after_a_step(run: RunFolder) -> None:
    """Another process starts this run after the fifth iteration."""
    import lightning.pytorch as pl

    from recipes.attempts import begin_attempt
    from recipes.engine.progress import Progress

    original = Progress.on_train_batch_end

    def watched(self: Any, trainer: pl.Trainer, *args: Any) -> None:
        original(self, trainer, *args)
        if trainer.global_step == 5 and trainer.is_global_zero:
            begin_attempt(run.training / "attempts")

    Progress.on_train_batch_end = watched


def die_after_five_iterations(run: RunFolder) -> None:
    """Killed (-9) when the fifth iteration is noted."""
    from recipes.engine.progress import Progress

    original = Progress.on_train_batch_end

    def watched(self: Any, trainer: Any, *args: Any) -> None:
        original(self, trainer, *args)
        if trainer.global_step == 5:
            os.kill(os.getpid(), signal.SIGKILL)

    Progress.on_train_batch_end = watched


def start_again_in_a_save(run: RunFolder) -> None:
    """Another process starts this run when the first save is written, and not yet published."""
    from recipes.attempts import begin_attempt
    from recipes.engine import checkpoint

    original = checkpoint.digests_of_rank

    def watched(written: Path, rank: int) -> Any:
        if rank == 0:
            begin_attempt(run.training / "attempts")
        return original(written, rank)

    checkpoint.digests_of_rank = watched


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        main()
