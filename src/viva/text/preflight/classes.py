"""The classes of data: how many rows, or words, each of them has."""

from collections.abc import Mapping
from math import isfinite

from viva.text.tokens.example import UNTAGGED, Example

MOST = 20  # classes that are named, and that are few


def numbers(found: Example) -> list[int]:
    """The class of a document or, where its words have one each, theirs."""
    tags = [] if found.tags is None else [tag for tag in found.tags if tag != UNTAGGED]
    return tags if found.label is None else [int(found.label), *tags]


def told(counts: Mapping[str, int]) -> str:
    """Each class with its number, in a sentence.

    >>> told({"bad": 1200, "good": 5})
    "2 classes: 'bad' 1,200, 'good' 5"
    """
    named = ", ".join(f"{name!r} {count:,}" for name, count in list(counts.items())[:MOST])
    more = f" and {len(counts) - MOST} more" if len(counts) > MOST else ""
    return f"{len(counts)} classes: {named}{more}"


def doubts(counts: Mapping[str, int]) -> list[str]:
    """What is to be said of names that seem to be none of classes, for nearly every row has its own.

    >>> doubts(dict.fromkeys("abc", 1))
    []
    >>> doubts({"a": 100, **{f"c{n}": 0 for n in range(99)}})
    []
    >>> doubts({f"{n / 10}": 1 for n in range(30)})[0].partition(": ")[2]
    'if they are values and no names, format.values=true of the format classes learns them so'
    """
    held = [name for name, count in counts.items() if count]
    examples = sum(counts.values())
    if len(held) <= MOST or len(held) < 0.9 * examples:
        return []
    why = "if the columns of texts and labels are swapped, swap their names in data.columns or in format"
    if all(map(_is_number, held)):
        why = "if they are values and no names, format.values=true of the format classes learns them so"
    return [f"{len(held):,} classes have {examples:,} examples, nearly every one a class of its own: {why}"]


def _is_number(name: str) -> bool:
    try:
        return isfinite(float(name))
    except ValueError:
        return False
