"""Every phase in a process of its own: neither NeMo nor torch.distributed can be started twice in one."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

from data_prep.bundled import tokenizer_folder
from data_prep.masked_attention import attention_length
from launch.rank_output import RankOutput
from recipes.cluster import Cluster
from recipes.layout import RunFolder
from recipes.processes import die_with_parent
from recipes.schema import Recipe


def in_own_process(
    recipe: Recipe, cluster: Cluster, run: RunFolder, number: int, output: RankOutput, alone: bool
) -> int:
    """Train phase `number` in the process that suits; returns its exit status.

    The last phase takes this process. Earlier ones are forked on a CPU, which spares them the import of NeMo; a CUDA
    context does not survive a fork, so there they are started afresh.
    """

    def train() -> None:
        from recipes.engine.train import Outside, train_phase

        reach = partial(attention_length, recipe, number, run)
        train_phase(recipe, cluster, number, run, Outside(output.say, partial(_tokenizer, recipe, run), reach))

    if alone:
        return output.guard(train)
    if cluster.gpus_per_node:
        return subprocess.run(_this_command(number), stdout=output.terminal, check=False).returncode
    child = os.fork()
    if child == 0:
        die_with_parent()
        os._exit(output.guard(train))
    return _exit_status(os.waitpid(child, 0)[1])


def _tokenizer(recipe: Recipe, run: RunFolder) -> Path:
    return tokenizer_folder(recipe.tokenizer.path, run.root / "tokenizer")


def _exit_status(status: int) -> int:
    return abs(os.waitstatus_to_exitcode(status))  # killed by signal n: -n


def _this_command(number: int) -> list[str]:
    """The command of this rank for one phase; the last of two equal options counts."""
    return [sys.executable, "-m", "launch.rank", *sys.argv[1:], "--phases", str(number)]
