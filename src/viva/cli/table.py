"""A table on the screen, in Markdown's form, so that a document can show it as it is printed."""

import sys

from rich.box import MARKDOWN
from rich.console import Console
from rich.table import Table

UNBOUNDED = 10_000  # columns, where nobody looks: a file, or the next program, is given whole lines


def show(heads: list[str], rows: list[list[str]]) -> None:
    """Print rows of cells below their heads; on a terminal those behind the first are wrapped to its width."""
    table = Table(box=MARKDOWN, header_style="")
    for number, head in enumerate(heads):
        table.add_column(head, no_wrap=number == 0, overflow="fold")
    for row in rows:
        table.add_row(*row)
    width = None if sys.stdout.isatty() else UNBOUNDED
    console = Console(width=width, markup=False, emoji=False, highlight=False)
    with console.capture() as shown:
        console.print(table)
    print(shown.get().strip())  # of the empty lines that this form has for edges
