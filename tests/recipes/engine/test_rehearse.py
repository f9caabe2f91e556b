"""Ranks that Megatron-Core builds without memory, against arithmetic; and data orders that must not pass."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tiny_run import ROOT

from recipes.load import load_cluster, load_recipe
from recipes.memory import rank_parameters
from recipes.rehearsal import BuiltPhase, Request

pytestmark = pytest.mark.long


def _request(cluster: str, name: str, world: tuple[int, int], *fields: str) -> Request:
    nodes, ranks = world
    machine = load_cluster(cluster).model_copy(update={"nodes": nodes, "ranks_per_node": ranks})
    return Request(recipe=load_recipe(name, fields), cluster=machine, phases=[1])


def _split(tensor: int, pipeline: int, context: int) -> list[str]:
    parts = {"tensor": tensor, "pipeline": pipeline, "context": context}
    return [f"phases.1.{name}_parallel={size}" for name, size in parts.items()]


UNTIED = ["model.shape.tie_word_embeddings=false", "model.shape.vocab_size=300"]
REQUESTS = {
    "400 ranks in every way": _request("mn5", "qwen3_4b", (100, 4), *_split(2, 2, 2), "samples=null"),
    "untied, padded, fp32": _request("local", "qwen3_tiny", (2, 4), *_split(2, 2, 1), *UNTIED),
    "one stage, bf16 sums": _request("mn5", "qwen3_1p7b", (2, 4), *_split(2, 1, 1), "gradient_reduction=bf16"),
}


@pytest.fixture(scope="module")
def answers() -> dict[str, Any]:
    command = [sys.executable, str(Path(__file__).with_name("rehearse_cases.py"))]
    text = json.dumps([request.model_dump(mode="json") for request in REQUESTS.values()])
    environment = os.environ | {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    answer = subprocess.run([*command, text], capture_output=True, text=True, env=environment, timeout=600)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return json.loads(answer.stdout.splitlines()[-1])


@pytest.fixture(params=REQUESTS)
def case(request: pytest.FixtureRequest, answers: dict[str, Any]) -> tuple[Request, BuiltPhase]:
    (phase,) = answers["built"][list(REQUESTS).index(request.param)]
    return REQUESTS[request.param], BuiltPhase.model_validate(phase)


def test_every_part_of_a_replica_is_built_once(case: tuple[Request, BuiltPhase]) -> None:
    request, built = case
    phase = request.recipe.phase(1)
    parts = [(rank.tensor, rank.stage, rank.context) for rank in built.ranks]
    sizes = (phase.tensor_parallel, phase.pipeline_parallel, phase.context_parallel)
    assert sorted(parts) == [
        (tensor, stage, context)
        for tensor in range(sizes[0])
        for stage in range(sizes[1])
        for context in range(sizes[2])
    ]


def test_replicas_of_the_parts_are_all_ranks(case: tuple[Request, BuiltPhase]) -> None:
    request, built = case
    assert all(rank.replicas[0] == rank.rank for rank in built.ranks)
    replicas = [one for rank in built.ranks for one in rank.replicas]
    assert sorted(replicas) == list(range(request.cluster.world_size))


def test_a_rank_holds_what_arithmetic_says(case: tuple[Request, BuiltPhase]) -> None:
    request, built = case
    phase, shape = request.recipe.phase(1), request.recipe.model.shape
    for rank in built.ranks:
        expected = rank_parameters(shape, phase.tensor_parallel, phase.pipeline_parallel, rank.stage)
        assert rank.parameters == expected


def test_buffers_are_the_parameters_and_little_padding(case: tuple[Request, BuiltPhase]) -> None:
    request, built = case
    weight = 2 if request.recipe.precision == "bf16-mixed" else 4
    gradient = 4 if request.recipe.gradient_reduction == "fp32" else 2
    shards = request.cluster.world_size // request.recipe.phase(1).tensor_parallel
    shards //= request.recipe.phase(1).pipeline_parallel
    for rank in built.ranks:
        elements, rest = divmod(rank.weight_bytes, weight)
        assert not rest
        assert rank.parameters <= elements <= rank.parameters * 1.001 + 64 * 100
        assert rank.gradient_bytes == gradient * elements
        assert rank.shard_elements * shards == elements


def test_norms_and_tied_embeddings(answers: dict[str, Any]) -> None:
    ranks = BuiltPhase.model_validate(answers["built"][0][0]).ranks
    for rank in ranks:
        last = rank.stage == 1
        assert rank.norms == 18 * 2 * (2560 + 128) + last * 2560
        assert rank.tied_copy == (151936 * 2560 // 2 if last else 0)
    assert all(rank.tied_copy == 0 for rank in BuiltPhase.model_validate(answers["built"][1][0]).ranks)


@pytest.mark.parametrize(
    ("samples", "steps", "restarts"),
    [(8, [0], 0), (16, [0, 1], 1), (24, [0, 1, 2], 2), (48, [0, 1, 4, 5], 2)],
)
def test_an_honest_walk(answers: dict[str, Any], samples: int, steps: list[int], restarts: int) -> None:
    walk = answers["walked"][f"{samples} samples"]
    assert walk == {"steps": steps, "samples": 8 * len(steps), "restarts": restarts, "problems": []}


@pytest.mark.parametrize(
    ("trap", "sentence"),
    [
        ("another_order", "step 0: its samples do not go to one replica each"),
        ("forgets_where_it_was", "a run that starts again at step 1 goes on with other samples"),
        ("is_one_sample_behind", "a run that starts again at step 1 goes on with other samples"),
        ("the_same_for_every_replica", "step 4: its samples do not go to one replica each"),
        ("loses_a_replica", "step 5: its samples do not go to one replica each"),
    ],
)
def test_a_broken_walk(answers: dict[str, Any], trap: str, sentence: str) -> None:
    assert sentence in answers["walked"][trap]["problems"]


def test_the_samples_of_a_micro_batch_are_those_that_the_sampler_deals(answers: dict[str, Any]) -> None:
    assert len(answers["dealt"]) == 4 * 2 * 4  # replicas, micro batches, steps
    for dealt, named in answers["dealt"]:
        assert dealt == named
