"""Numbered stages of a long command: a headline when one starts, the time each took at the end."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.table import Table


class Stages:
    """Call it as a context manager factory: `with stages("import the base"): …`."""

    def __init__(self, terminal: Console, total: int) -> None:
        self.terminal = terminal
        self.total = total
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, title: str) -> Iterator[None]:
        self.terminal.print(f"\n[bold]\\[{len(self.seconds) + 1}/{self.total}] {title}[/]", highlight=False)
        start = time.monotonic()
        yield
        self.seconds[title] = time.monotonic() - start

    def show_times(self) -> None:
        """Print the stages with their times, and the sum."""
        table = Table(title="time per stage", title_justify="left")
        table.add_column("stage")
        table.add_column("seconds", justify="right")
        for title, seconds in self.seconds.items():
            table.add_row(title, f"{seconds:,.0f}")
        table.add_section()
        table.add_row("all", f"{sum(self.seconds.values()):,.0f}")
        self.terminal.print(table)
