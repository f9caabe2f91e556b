"""One command, run bare or inside the cluster's container."""

from collections.abc import Sequence
from pathlib import Path

from recipes.cluster import Container


def contained(container: Container, folders: Sequence[Path], command: Sequence[str]) -> list[str]:
    """The argv that runs `command`, seen from the first of `folders`, as `container` says.

    Args:
        container: bare, or singularity with an image and binds.
        folders: absolute folders that the command reads or writes; they keep their paths inside. The first is the
            working directory.
        command: argv whose program exists inside the container.
    """
    if container.kind == "bare":
        return list(command)
    binds = [*(f"{folder}:{folder}" for folder in dict.fromkeys(folders)), *container.binds]
    options = ["--nv", "--bind", ",".join(binds), "--pwd", str(folders[0])]
    return ["singularity", "exec", *options, str(container.image), *command]


def python_inside(container: Container, python: str) -> str:
    """The interpreter to call: `python`, this process's own, when bare; the image's first one otherwise."""
    return python if container.kind == "bare" else "python"
