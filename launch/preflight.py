"""What must be true before 400 ranks are started: arithmetic and files, checked by one process in a second."""

from collections.abc import Sequence
from pathlib import Path

from launch.lock import hold_lock
from launch.readiness import check_data, unfinished_phases
from recipes.cluster import BatchIdentity, Cluster, Container, batch_identity
from recipes.errors import UserError
from recipes.layout import RunFolder
from recipes.schema import Recipe


def preflight(
    recipe: Recipe, cluster: Cluster, run: RunFolder, phases: Sequence[int], accept: Sequence[str] = ()
) -> list[BatchIdentity]:
    """Check that `phases` can start on `cluster`; returns the batch identity of each.

    Args:
        accept: fields of the run lock that may have changed.

    Raises:
        UserError: the first thing that does not fit or is missing, and what to do: the image, the batch, the shards,
            the weights to start from, or what the run was started with before.
    """
    _check_image(cluster.container)
    check_data(run, unfinished_phases(recipe, run, phases, cluster.world_size))
    hold_lock(run, recipe, phases, cluster.container, accept)
    return [batch_identity(recipe.phase(number), cluster.world_size) for number in phases]


def _check_image(container: Container) -> None:
    if container.image and not Path(container.image).exists():
        raise UserError(f"{Path(container.image).absolute()}: the container image is not there; copy it to this place.")
