"""One rank of a training job; started once per rank by torchrun or srun.

    python -m launch.rank --run FOLDER --recipe NAME|FILE [--set FIELD=VALUE] [--cluster NAME|FILE] [--phases 1,2]

Trains the phases one after another; finished ones are skipped, a begun one goes on from its last whole checkpoint.
What libraries print goes to `training/logs/rank_<rank>.txt`; standard output has our own lines only.
Exit status: 0, 2 for bad input (one sentence, from rank 0), 1 for everything else.
"""

import argparse
import gc
import os
import sys
from pathlib import Path

from launch.environment import rank_environment
from launch.rank_output import RankOutput
from launch.readiness import check_parts, unfinished_phases
from recipes.cluster import Cluster
from recipes.errors import UserError
from recipes.layout import RunFolder
from recipes.load import load_cluster, load_recipe, phase_numbers
from recipes.processes import die_with_parent
from recipes.schema import Recipe


def main() -> None:
    """Entry of `python -m launch.rank`."""
    arguments = _parser().parse_args()
    try:
        os.environ.update(rank_environment(os.environ))
        die_with_parent()
        recipe, cluster = load_recipe(arguments.recipe, arguments.set), load_cluster(arguments.cluster)
        run = RunFolder(arguments.run.absolute())
        phases = phase_numbers(recipe, arguments.phases)
        todo = unfinished_phases(recipe, run, phases, int(os.environ["WORLD_SIZE"]))
        check_parts(recipe, todo)
    except UserError as error:
        if os.environ.get("RANK", "0") == "0":
            print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    if todo:
        os._exit(_train(recipe, cluster, run, todo))  # past the destructors of gloo and NCCL, which wait for lost ranks


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="launch.rank", description="Train phases of a recipe as one rank of a job.")
    parser.add_argument("--run", required=True, type=Path, help="the run folder")
    parser.add_argument("--recipe", required=True, help="a shipped recipe or a file")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="override a recipe field")
    parser.add_argument("--cluster", default="local", help="a shipped cluster or a file")
    parser.add_argument("--phases", help="numbers or names, with commas; all by default")
    return parser


def _train(recipe: Recipe, cluster: Cluster, run: RunFolder, todo: list[int]) -> int:
    """Train `todo` in order; returns the exit status."""
    from launch.phase_process import in_own_process

    if not cluster.gpus_per_node:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # the cluster file decides, not what happens to be plugged in
    threads = cluster.cpus_per_node // int(os.environ["LOCAL_WORLD_SIZE"])
    os.environ.setdefault("OMP_NUM_THREADS", os.environ.get("SLURM_CPUS_PER_TASK") or str(max(1, threads)))
    output = RankOutput(run.training / "logs" / f"rank_{os.environ['RANK']:0>4}.txt")
    code = output.guard(_import_engine)
    for number in todo:
        if code:
            break
        code = in_own_process(recipe, cluster, run, number, output, alone=number == todo[-1])
    return code


def _import_engine() -> None:
    from recipes.engine.platform import prepare

    prepare()
    import recipes.engine.train  # noqa: F401

    gc.collect()
    gc.freeze()  # Lightning collects between phases: without a million objects of NeMo's import it takes no time


if __name__ == "__main__":
    main()
