"""Markdown that is written by a program."""

from collections.abc import Iterable, Sequence


def table(*head: str, rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table.

    >>> table("a", "b", rows=[("1", "x|y")])
    ['| a | b |', '| --- | --- |', '| 1 | x\\\\|y |']
    """
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]
