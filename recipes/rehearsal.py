"""What a rehearsal asks of `recipes.engine.rehearse`, and what it answers: plain values, without NeMo."""

from recipes.cluster import Cluster
from recipes.schema import Recipe, Strict


class Request(Strict):
    """Phases (numbers from 1) whose batches and layouts divide on the cluster."""

    recipe: Recipe
    cluster: Cluster
    phases: list[int]


class BuiltRank(Strict):
    """One rank whose modules, and the buffers that Megatron-Core puts them into, were built without memory."""

    rank: int  # of the world
    tensor: int  # its place in each kind of parallelism, from 0
    context: int
    stage: int
    replicas: list[int]  # ranks of the world that hold the same and read other samples; itself among them, in order
    parameters: int
    norms: int  # of these: on every tensor-parallel rank
    tied_copy: int  # of these: the last stage's copy of tied embeddings
    weight_bytes: int  # with what pads buckets, so that they divide
    gradient_bytes: int
    shard_elements: int  # of weights and their padding, whose optimizer state lies on this rank


class Walk(Strict):
    """Which samples all ranks were handed in the first and the last steps of a phase."""

    steps: list[int]  # from 0
    samples: int  # handed out in these, each to one replica
    restarts: int  # times that the walk was begun again in the middle
    problems: list[str]


class BuiltPhase(Strict):
    """Every rank of the first replica, and the walk of all."""

    number: int
    ranks: list[BuiltRank]
    walk: Walk
