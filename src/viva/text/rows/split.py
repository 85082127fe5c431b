"""Train and held-out rows, told apart by their content, so that neither exact duplicates nor rows that are made of one
ever straddle the border.
"""

from collections.abc import Iterable, Iterator
from typing import Literal

from viva.base.errors import Refusal
from viva.text.rows.row import Row

Part = Literal["train", "valid", "all"]


def part_of(row: Row, valid: float) -> Part:
    """ "valid" for a share of about `valid` of all different rows, a pure function of the row's content, or of
    that of the row which it is made of.
    """
    return "valid" if int.from_bytes((row.kin or row.digest)[:8], "big") < valid * 2**64 else "train"


def split(rows: Iterable[Row], part: Part, valid: float) -> Iterator[Row]:
    """The rows of one part."""
    if not 0 <= valid < 1:
        raise Refusal("the held-out share must be at least 0 and below 1", valid, "set valid to for example 0.02")
    return (row for row in rows if part == "all" or part_of(row, valid) == part)
