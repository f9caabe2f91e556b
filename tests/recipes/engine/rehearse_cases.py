"""Rehearses requests, and walks data modules that are broken on purpose; prints JSON.

A program of its own, because rehearsing changes torch; all cases share one start of NeMo.
"""

import json
import sys
from collections.abc import Callable
from typing import Any

import fiddle

from recipes.engine.platform import prepare
from recipes.load import load_cluster, load_recipe
from recipes.rehearsal import Request

SAMPLES, REPLICAS = 48, 4  # of 6 steps of 8


def main(requests: list[dict[str, Any]]) -> None:
    prepare()
    from recipes.engine.rehearse import rehearse

    built = [[phase.model_dump() for phase in rehearse(Request.model_validate(request))] for request in requests]
    print(json.dumps({"built": built, "walked": walked(), "dealt": dealt()}))


def walked() -> dict[str, dict[str, Any]]:
    """Walk -> its answer: an honest data module, short phases, and every trap."""
    from recipes.engine import rehearse
    from recipes.engine.show import configuration
    from recipes.engine.walk import walk

    recipe, cluster = load_recipe("qwen3_tiny", ["phases.1.micro_batch_size=1"]), load_cluster("local")
    config = configuration(recipe, 1, cluster.model_copy(update={"ranks_per_node": REPLICAS}))
    parallelism = fiddle.build(config.trainer.strategy).parallelism
    answers = {}
    with rehearse._groups(0, REPLICAS, parallelism):
        for samples in (8, 16, 24, SAMPLES):
            answers[f"{samples} samples"] = walk(fiddle.build(config.data), samples, REPLICAS).model_dump()
        for trap in TRAPS:
            data = fiddle.build(config.data)
            trap(data)
            answers[trap.__name__] = walk(data, SAMPLES, REPLICAS).model_dump()
    return answers


def dealt() -> list[list[Any]]:
    """[what the sampler deals, what `recipes.engine.sample_ids` says] of every micro batch of a run that began at 2."""
    from megatron.core import parallel_state

    from recipes.engine import rehearse, walk
    from recipes.engine.sample_ids import deal_of
    from recipes.engine.show import configuration

    recipe, cluster = load_recipe("qwen3_tiny", ["phases.1.micro_batch_size=1"]), load_cluster("local")
    config = configuration(recipe, 1, cluster.model_copy(update={"ranks_per_node": REPLICAS}))
    pairs: list[list[Any]] = []
    with rehearse._groups(0, REPLICAS, fiddle.build(config.trainer.strategy).parallelism):
        data = fiddle.build(config.data)
        deal = deal_of(data)
        assert deal.replicas == parallel_state.get_data_parallel_world_size() == REPLICAS
        for replica in range(REPLICAS):
            for at, samples in enumerate(walk._micro_batches(data, SAMPLES, replica, 2)):
                pairs.append([samples, deal.samples(3 + at // deal.micro_batches, at % deal.micro_batches, replica)])
    return pairs


def another_order(data: Any) -> None:
    data.data_sampler.dataloader_type = "cyclic"


def forgets_where_it_was(data: Any) -> None:
    data.load_state_dict = lambda state: None


def is_one_sample_behind(data: Any) -> None:
    honest = data.load_state_dict
    data.load_state_dict = lambda state: honest({"consumed_samples": max(0, state["consumed_samples"] - 1)})


def the_same_for_every_replica(data: Any) -> None:
    honest = data.data_sampler.transform_dataloader

    def transform(loader: Any) -> Any:
        from megatron.core import parallel_state

        parallel_state.set_data_parallel_rank(0)
        return honest(loader)

    data.data_sampler.transform_dataloader = transform


def loses_a_replica(data: Any) -> None:
    honest = data.data_sampler.transform_dataloader

    def transform(loader: Any) -> Any:
        from megatron.core import parallel_state

        last = parallel_state.get_data_parallel_rank() == REPLICAS - 1
        found = honest(loader)
        return type("Empty", (), {"batch_sampler": []})() if last else found

    data.data_sampler.transform_dataloader = transform


TRAPS: list[Callable[[Any], None]] = [
    another_order,
    forgets_where_it_was,
    is_one_sample_behind,
    the_same_for_every_replica,
    loses_a_replica,
]


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
