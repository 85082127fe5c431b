"""Tables whose first line is a row and no names of columns: what to do, with names that fit."""

import re
from collections.abc import Sequence

from viva.text.rows.row import Row

TABLE = re.compile(r"\.[ct]sv(\.gz)?:\d+$", re.IGNORECASE)  # ends the place of a row of a table
NUMBER = re.compile(r"\s*[-+]?\d+(\.\d+)?\s*")
LABEL = re.compile(r"[-A-Za-z0-9_]{1,24}|\w{1,4}")  # a word, or a few characters of Chinese


def headless(row: Row) -> str:
    """What to do about a row of a table whose first line seems to be a row and no names of columns; else nothing."""
    names = [name for name in row.data if isinstance(name, str)]
    if not TABLE.search(row.where) or not any(" " in name.strip() or NUMBER.fullmatch(name) for name in names):
        return ""
    fitting = ",".join(columns([tuple(map(str, column)) for column in row.data.items()]))
    said = f"name the columns in data.columns (`viva data check FILE --columns {fitting}`) if the first line is a row"
    return f"{said} like the others, or else name its fields in the recipe"


def columns(held: Sequence[tuple[str, ...]]) -> list[str]:
    """A name for each column by what it holds: of texts alone, the first two are a source and its target; else the
    longest is the text, and the first that holds numbers or single words its label.

    >>> columns([("3", "4"), ("Fears for pension", "Open letter"), ("Unions say that ...", "The British ...")])
    ['label', 'column2', 'text']
    >>> columns([("Guten Tag", "Danke schön"), ("Good day", "Thank you")])
    ['source', 'target']
    """
    names = [f"column{place}" for place in range(1, len(held) + 1)]
    labels = [place for place, texts in enumerate(held) if all(map(_is_label, texts))]
    if not labels and len(held) > 1:
        return ["source", "target", *names[2:]]
    longest = max(range(len(held)), key=lambda place: sum(map(len, held[place])))
    names[longest] = "text"
    for place in [place for place in labels if place != longest][:1]:
        names[place] = "label"
    return names


def _is_label(text: str) -> bool:
    return bool(NUMBER.fullmatch(text) or LABEL.fullmatch(text.strip()))
