"""The classes of data: how many rows, or words, each of them has."""

from collections.abc import Mapping

from viva.text.tokens.example import UNTAGGED, Example

MOST = 20  # classes that are named


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
