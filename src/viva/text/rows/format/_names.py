"""What the formats share whose labels name classes."""

import math
import re
from difflib import get_close_matches
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from viva.base.errors import Refusal
from viva.text.rows.fields import corrected
from viva.text.rows.row import Row


def _each_once(names: tuple[str, ...]) -> tuple[str, ...]:
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"must name each class once, but has {twice[0]!r} {names.count(twice[0])} times")
    return names


Names = Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(_each_once)]


def name(label: Any, row: Row, field: str, such: str = "...") -> str:
    """The name of the class that a label gives: a text or a number, a whole one without its point. A label that is
    missing, blank or anything else is refused, and `such` a one shown in its place.
    """
    known = isinstance(label, str | int) or (isinstance(label, float) and math.isfinite(label))
    if not known or not str(label).strip():
        missing = label is None or label != label or label == ""
        fix = "fill in or remove that row" if missing else "write it as a string or a number"
        fix += _shown(label, row, field, such)
        raise Refusal(f"{row.where} must have the name of a class as {field!r}", repr(label)[:80], fix)
    return str(int(label)) if isinstance(label, float) and label.is_integer() else str(label)


def ordered(found: set[str], known: tuple[str, ...] | None) -> tuple[str, ...]:
    """The names in the order in which they are `known`, if they are the same; else numbers by their size, before names
    by their letters.
    """
    if not found:
        raise Refusal("the data must hold rows with classes", "none", "give rows")
    return known if known is not None and found == set(known) else tuple(sorted(found, key=_order))


def numbered(label: Any, labels: tuple[str, ...] | None, row: Row, field: str) -> int:
    """The place among `labels` of the class that a label gives, which must be one of them."""
    found = name(label, row, field, (labels or ("...",))[0])
    if labels is None or found not in labels:
        beside = f" beside {', '.join(labels)}" if labels else ""
        fix = f"name it in format.labels{beside}, or correct or remove the row"
        fix += _misspelled(found, labels or (), label, row, field)
        raise Refusal(f"{row.where} must have a known class as {field!r}", repr(found), fix)
    return labels.index(found)


def _misspelled(found: str, labels: tuple[str, ...], label: Any, row: Row, field: str) -> str:
    """The class that was perhaps meant, with the row as it would be."""
    alike = get_close_matches(found, labels, n=1)
    return f"; {alike[0]!r} may be meant{_shown(label, row, field, alike[0])}" if alike else ""


def _shown(label: Any, row: Row, field: str, right: str) -> str:
    """The row with another label, where it has but one."""
    return f": {corrected(row, field, right)}" if row.data.get(field) is label else ""


def _order(name: str) -> tuple:
    return (0, int(name), name) if re.fullmatch(r"-?\d{1,18}", name) else (1, 0, name)
