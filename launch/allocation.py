"""What Slurm gave this job, and the cluster file corrected by it."""

from collections.abc import Mapping
from dataclasses import dataclass

from recipes.cluster import Cluster
from recipes.errors import UserError
from recipes.load import validate


@dataclass(frozen=True)
class Allocation:
    """The nodes and ranks of one job."""

    nodes: int
    ranks: int
    cpus_per_rank: int | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Allocation":
        """Read what sbatch exports to the batch script.

        Raises:
            UserError: this is not a batch job, or it does not say how many ranks it has.
        """
        try:
            nodes, ranks = int(environment["SLURM_NNODES"]), int(environment["SLURM_NTASKS"])
        except KeyError as error:
            raise UserError(
                f"{error.args[0]} is not set: submit with `sbatch slurm/…`, and with --nodes and --ntasks-per-node."
            ) from error
        if ranks % nodes:
            raise UserError(
                f"{ranks} ranks do not fill {nodes} nodes evenly; give sbatch --nodes and --ntasks-per-node."
            )
        cpus = environment.get("SLURM_CPUS_PER_TASK")
        return cls(nodes, ranks, int(cpus) if cpus else None)

    @classmethod
    def stated_by(cls, cluster: Cluster) -> "Allocation":
        """What a cluster file says."""
        return cls(cluster.nodes, cluster.world_size)

    def __str__(self) -> str:
        return f"{self.nodes} nodes × {self.ranks // self.nodes} ranks"


def as_allocated(cluster: Cluster, allocation: Allocation) -> Cluster:
    """`cluster` with the nodes and ranks of this job in place of the file's.

    Raises:
        UserError: the file does not allow them, for example one rank on a node with four GPUs.
    """
    fields = cluster.model_dump()
    fields |= {"nodes": allocation.nodes, "ranks_per_node": allocation.ranks // allocation.nodes, "spare_nodes": 0}
    return validate(Cluster, fields, f"cluster {cluster.name} on this job's {allocation}")
