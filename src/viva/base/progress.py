"""How far long work has come: a line that changes in a terminal, a line now and then elsewhere."""

import time

from rich.console import Console
from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Live

EVERY_S = 10.0  # between two lines where there is no terminal; work that takes less says nothing there


class Progress:
    """As a context, shows `what` is being done and for how long; `say` tells how far it has come. Of work with a
    `total` a bar shows it, too. What is not `shown` prints nothing.
    """

    def __init__(self, what: str, total: int | None = None, shown: bool = True):
        self.what, self.total = what, total
        self.console = Console(stderr=True, soft_wrap=True, quiet=not shown)
        bar = [] if total is None else [BarColumn(40)]
        columns = (SpinnerColumn(), *bar, TextColumn("{task.description}"), TimeElapsedColumn())
        self.bar = Live(*columns, console=self.console, transient=True, disable=not shown)

    def __enter__(self) -> "Progress":
        self.began = self.spoke = time.monotonic()
        self.task = self.bar.add_task(self.what, total=self.total)
        if self.console.is_terminal:
            self.bar.start()
        return self

    def __exit__(self, *_) -> None:
        if self.console.is_terminal:
            self.bar.stop()
        if self.seconds > EVERY_S:
            self._print(f"{self.what}: {self.seconds:.0f} s in all")

    @property
    def seconds(self) -> float:
        """Since the work began."""
        return time.monotonic() - self.began

    def say(self, far: str, done: int | None = None) -> None:
        """Show `far` from now on, and on a bar that so much is `done`."""
        self.bar.update(self.task, description=f"{self.what}: {far}", completed=done)
        if not self.console.is_terminal and time.monotonic() - self.spoke > EVERY_S:
            self.spoke = time.monotonic()
            self._print(f"{self.what}: {far}, {self.seconds:.0f} s")

    def _print(self, line: str) -> None:
        self.console.print(line, markup=False, highlight=False)
