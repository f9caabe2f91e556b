"""Have the ranks built by a process of their own (`recipes.engine.rehearse`): what it does to torch stays there."""

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from recipes.errors import UserError
from recipes.processes import module_output
from recipes.rehearsal import BuiltPhase, Request


def build(request: Request) -> list[BuiltPhase]:
    """The ranks and the walk of each phase asked for; none asked, none started.

    Raises:
        UserError: a phase asks for what cannot be, or the process failed, with its last line.
    """
    if not request.phases:
        return []
    output = module_output("recipes.engine.rehearse", request.model_dump_json(), CUDA_VISIBLE_DEVICES="")
    try:
        with _progress() as progress:
            lines = progress.track(output, len(request.phases), description="importing NeMo, building ranks")
            return [BuiltPhase.model_validate_json(line) for line in lines]
    except UserError as error:
        raise UserError(f"rehearsal: {error}") from error


def _progress() -> Progress:
    terminal = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=terminal, disable=not terminal.is_terminal, transient=True)
