"""The schema of a cluster file: what a machine has and how jobs get onto it."""

from typing import Literal

from pydantic import Field, model_validator

from recipes.schema import Phase, Strict


class Accelerator(Strict):
    """One GPU, for memory checks, MFU, and estimates of throughput."""

    name: str
    memory_gb: float = Field(gt=0)  # GB = 1e9 bytes
    peak_bf16_tflops: float = Field(gt=0)  # dense
    memory_gb_per_second: float | None = Field(None, gt=0)
    nvlink_gb_per_second: float | None = Field(None, gt=0)  # one direction, to the other GPUs of the node together


class Reliability(Strict):
    """How often nodes fail, and what it takes to go on; for advice on checkpoints and spares."""

    node_hours_between_failures: float = Field(gt=0)  # mean, of one node
    repair_hours: float = Field(gt=0)  # until a failed node is back
    restart_minutes: float = Field(gt=0)  # from a failure to the first step after it


class Container(Strict):
    kind: Literal["bare", "singularity"] = "bare"
    image: str | None = None
    binds: list[str] = []  # host:container

    @model_validator(mode="after")
    def _image(self) -> "Container":
        if self.kind != "bare" and not self.image:
            raise ValueError(f"container kind {self.kind} needs `image`")
        return self


class Slurm(Strict):
    """Scheduler settings. Account and QOS come from the environment: SBATCH_ACCOUNT, SBATCH_QOS."""

    partition: str | None = None
    constraint: str | None = None
    time_limit: str = "24:00:00"
    exclusive: bool = True


class Cluster(Strict):
    """A cluster file, validated."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_]*$")
    nodes: int = Field(gt=0)  # active nodes
    spare_nodes: int = Field(0, ge=0)
    ranks_per_node: int = Field(gt=0)  # one per GPU; without GPUs, processes
    gpus_per_node: int = Field(0, ge=0)
    cpus_per_node: int = Field(gt=0)
    memory_per_node_gb: float = Field(gt=0)
    accelerator: Accelerator | None = None
    network_gbps_per_node: float | None = Field(None, gt=0)  # Gbit/s, all adapters together
    filesystem: str | None = None
    filesystem_gb_per_second: float | None = Field(None, gt=0)  # what a job's ranks write together
    reliability: Reliability | None = None
    offline: bool = False  # no internet on compute nodes: nothing may be fetched at run time
    container: Container = Container()
    slurm: Slurm | None = None
    environment: dict[str, str] = {}  # exported to every rank

    @model_validator(mode="after")
    def _gpus(self) -> "Cluster":
        if self.gpus_per_node and self.ranks_per_node != self.gpus_per_node:
            raise ValueError(
                f"ranks_per_node ({self.ranks_per_node}) must equal gpus_per_node ({self.gpus_per_node}): one per GPU"
            )
        if bool(self.gpus_per_node) != bool(self.accelerator):
            raise ValueError("gpus_per_node and accelerator go together: state both or neither")
        return self

    @property
    def world_size(self) -> int:
        """Ranks on the active nodes."""
        return self.nodes * self.ranks_per_node


class BatchIdentity(Strict):
    """global = micro × accumulation × data_parallel, and world = data × tensor × pipeline × context parallel."""

    world_size: int
    data_parallel: int
    tensor_parallel: int
    pipeline_parallel: int
    context_parallel: int
    micro_batch_size: int
    accumulation: int
    global_batch_size: int


def batch_identity(phase: Phase, world_size: int) -> BatchIdentity:
    """Solve both identities for `data_parallel` and `accumulation`.

    Raises:
        ValueError: no integer solution exists; the message names the fields and what would fit.
    """
    model_parallel = phase.tensor_parallel * phase.pipeline_parallel * phase.context_parallel
    if world_size % model_parallel:
        raise ValueError(
            f"phase {phase.name}: tensor_parallel × pipeline_parallel × context_parallel = {model_parallel} "
            f"does not divide the {world_size} ranks of the cluster"
        )
    data_parallel = world_size // model_parallel
    per_forward = phase.micro_batch_size * data_parallel
    if phase.global_batch_size % per_forward:
        lower = phase.global_batch_size // per_forward * per_forward
        nearest = f"{lower} or {lower + per_forward}" if lower else f"{per_forward}"
        raise ValueError(
            f"phase {phase.name}: global_batch_size ({phase.global_batch_size}) is not a multiple of micro_batch_size "
            f"× data_parallel ({phase.micro_batch_size} × {data_parallel}); the nearest that are: {nearest}"
        )
    return BatchIdentity(
        world_size=world_size,
        data_parallel=data_parallel,
        tensor_parallel=phase.tensor_parallel,
        pipeline_parallel=phase.pipeline_parallel,
        context_parallel=phase.context_parallel,
        micro_batch_size=phase.micro_batch_size,
        accumulation=phase.global_batch_size // per_forward,
        global_batch_size=phase.global_batch_size,
    )


def batch_on(phase: Phase, cluster: Cluster) -> BatchIdentity:
    """`batch_identity` over the ranks of a cluster.

    Raises:
        ValueError: no integer solution exists, or the cluster cannot split contexts.
    """
    check_context(phase, bool(cluster.gpus_per_node))
    return batch_identity(phase, cluster.world_size)


def check_context(phase: Phase, transformer_engine: bool) -> None:
    """Context parallelism is Transformer Engine's: our own attention sees whole sequences, or whole documents.

    Args:
        transformer_engine: whether it is there; a cluster without GPUs has none.

    Raises:
        ValueError: the phase asks for it where it cannot be.
    """
    if phase.context_parallel == 1:
        return
    if phase.document_masking:
        raise ValueError(
            f"phase {phase.name}: document_masking needs whole documents on a rank, so context_parallel must be 1; set "
            f"that, or leave document_masking out"
        )
    if not transformer_engine:
        raise ValueError(
            f"phase {phase.name}: context_parallel ({phase.context_parallel}) needs Transformer Engine, and GPUs for "
            f"it; set it to 1, tensor_parallel splits the memory of long sequences too"
        )
