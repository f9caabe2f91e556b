"""Trains phases of tiny runs in forked processes, after one import of NeMo; prints what became of each as JSON.

    python train_forked.py '[{"run": FOLDER, "recipe": FILE, "phase": 1, "ranks": 2, "fault": NAME}, …]'

Jobs run one after another. The answer to each is of its last rank: {"error": what ended it, or null, "groups": Adam's
parameter groups before the first step, with the names of their parameters, "gradients": the type that gradients are
summed in, "loss_tokens": the most that one softmax was computed for}. A program of its own, because the CPU
compatibility layer changes the torch of the process it is switched on in.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

from launch.environment import free_port
from recipes.cluster import Cluster
from recipes.engine.platform import prepare
from recipes.layout import RunFolder
from recipes.load import load_recipe


def main(jobs: list[dict[str, Any]]) -> None:
    prepare()
    import recipes.engine.train  # noqa: F401

    print(json.dumps([_train(job) for job in jobs]))


def _train(job: dict[str, Any]) -> dict[str, Any]:
    run, ranks, port = RunFolder(Path(job["run"])), job.get("ranks", 1), free_port()
    run.training.mkdir(parents=True, exist_ok=True)
    answer = run.root / "answer.json"
    children = []
    for rank in range(ranks):
        if child := os.fork():
            children.append(child)
            continue
        os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(ranks), LOCAL_WORLD_SIZE=str(ranks))
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
        log = os.open(run.training / f"log_{rank}.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1), os.dup2(log, 2)
        found = _as_one_rank(job, run, ranks)
        if rank == ranks - 1:
            answer.write_text(json.dumps(found))
        os._exit(0)
    for child in children:
        os.waitpid(child, 0)
    return json.loads(answer.read_text())


def _as_one_rank(job: dict[str, Any], run: RunFolder, ranks: int) -> dict[str, Any]:
    from recipes.engine.train import Outside, train_phase

    cluster = Cluster(name="forked", nodes=1, ranks_per_node=ranks, cpus_per_node=ranks, memory_per_node_gb=2)
    seen: dict[str, Any] = {"error": None, "loss_tokens": 0}
    _watch(seen)
    if fault := job.get("fault"):
        globals()[fault]()
    try:
        recipe = load_recipe(job["recipe"])
        outside = Outside(lambda line: None, lambda: Path(recipe.tokenizer.path), lambda: None)
        train_phase(recipe, cluster, job["phase"], run, outside)
    except Exception as error:  # noqa: BLE001
        seen["error"] = str(error)
    return seen


def _watch(seen: dict[str, Any]) -> None:
    from megatron.core.models.gpt import GPTModel

    from recipes.engine.optimizer import PhaseOptimizer

    check, loss = PhaseOptimizer.on_before_optimizer_step, GPTModel.compute_language_model_loss

    def watched_check(self: Any, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        if "groups" not in seen:
            seen["groups"] = _described(trainer)
            seen["gradients"] = str(next(trainer.strategy.megatron_parallel.parameters()).main_grad.dtype)
        check(self, trainer, pl_module, optimizer)

    def watched_loss(self: Any, labels: Any, logits: Any) -> Any:
        seen["loss_tokens"] = max(seen["loss_tokens"], labels.numel())
        return loss(self, labels, logits)

    PhaseOptimizer.on_before_optimizer_step, GPTModel.compute_language_model_loss = watched_check, watched_loss


def _described(trainer: Any) -> list[dict[str, Any]]:
    """The numbers of every group, the mean size of its first moments, and its parameters by name."""
    adam = trainer.strategy.optimizers[0].mcore_optimizer
    adam = getattr(adam, "chained_optimizers", [adam])[0]
    described = []
    for number, group in enumerate(adam.optimizer.param_groups):
        moments = [adam.optimizer.state[shard].get("exp_avg") for shard in group["params"]]
        names = [
            name.split("module.")[-1]
            for name, parameter in trainer.strategy.megatron_parallel.named_parameters()
            if adam.model_param_group_index_map.get(parameter, (None,))[0] == number  # of this rank's shard
        ]
        numbers = {name: group.get(name) for name in ("lr", "betas", "eps", "weight_decay", "step")}
        size = max((float(moment.abs().mean()) for moment in moments if moment is not None), default=0.0)
        described.append({**numbers, "moments": size, "parameters": names})
    return described


def saved_groups_win() -> None:
    """What NeMo does when left alone."""
    from nemo.lightning import MegatronStrategy

    from recipes.engine.strategy import PhaseStrategy

    PhaseStrategy.load_optimizer_state_dict = MegatronStrategy.load_optimizer_state_dict


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
