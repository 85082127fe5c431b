"""Who may attend to whom, as values that combine with `&` and `|`; one file a mask.

A mask answers for slots of a row, never for tensors of a certain shape: `allows(queries, keys)` takes the slots of the
queries [B or 1, T] and of the keys [S] and returns a boolean [B or 1, T, S], True where the query may see the key.
One that speaks of each row by itself says of how many, as `rows`.
"""

from dataclasses import dataclass
from functools import reduce
from operator import and_, or_
from typing import Any

from torch import Tensor

from viva.base.errors import Refusal


def everything(queries: Tensor, keys: Tensor) -> Tensor:
    """Each query sees each key."""
    return (keys == keys).expand(*queries.shape, -1)


class Mask:
    """The base of every mask. `relative`: it depends on query - key alone, so it says the same inside a document.
    `rows`: how many it speaks of one by one; 1 where it says the same of any.
    """

    relative = False
    rows = 1

    def allows(self, queries: Tensor, keys: Tensor) -> Tensor:
        raise NotImplementedError

    def __and__(self, other: "Mask") -> "Both":
        return Both((*self.parts, *require_mask(other).parts))

    def __or__(self, other: "Mask") -> "Either":
        return Either((self, require_mask(other)))

    @property
    def parts(self) -> tuple["Mask", ...]:
        """The masks this one is the conjunction of; a kernel looks here for those it knows."""
        return (self,)

    @property
    def atoms(self) -> tuple["Mask", ...]:
        """The masks this one is made of, by whatever combination."""
        return (self,)


def require_mask(given: Any) -> Mask:
    """What is given, refused where it is none, such as a bare tensor."""
    if not isinstance(given, Mask):
        fix = "wrap a boolean tensor: viva.model.mask.given.Given(table)"
        raise Refusal("a mask must be one of viva.model.mask", f"a {type(given).__name__}", fix)
    return given


def require_rows(mask: Mask, queries: Tensor) -> None:
    """Refuse queries [B or 1, T] of other rows than the mask speaks of."""
    if mask.rows != 1 and len(queries) not in (1, mask.rows):
        found, fix = f"{mask.rows} rows beside {len(queries)}", "give a mask for all of them"
        raise Refusal("a mask must be for the rows that attend", found, fix)


def require_covered(T: int, S: int, mask: Mask, queries: Tensor, keys: Tensor) -> None:
    """Refuse queries and keys at other slots than the T and S that a mask speaks of, and queries of other rows."""
    require_rows(mask, queries)
    ends = end(queries), end(keys)
    if ends[0] > T or ends[1] > S:
        must = f"a mask of shape [{mask.rows}, {T}, {S}] must cover the slots that attend"
        found = f"{len(queries)} rows of {ends[0]} queries and {ends[1]} keys"
        raise Refusal(must, found, "give a mask for all of them")


def end(slots: Tensor) -> int:
    """One behind the last slot; 0 where there is none."""
    return int(slots.max()) + 1 if slots.numel() else 0


def told(given: Any) -> str:
    """In words what was given for a tensor of a mask."""
    if not isinstance(given, Tensor):
        return f"a {type(given).__name__}"
    return f"{str(given.dtype).removeprefix('torch.')} of shape {list(given.shape)}"


def _rows(masks: tuple[Mask, ...]) -> int:
    """Of how many rows masks speak together."""
    counts = {mask.rows for mask in masks} - {1}
    if len(counts) > 1:
        fix = "give masks of one batch"
        raise Refusal("masks that are combined must be for as many rows", sorted(counts), fix)
    return counts.pop() if counts else 1


@dataclass(frozen=True)
class Both(Mask):
    """Allowed by every part; with no part, everything is."""

    conjuncts: tuple[Mask, ...]

    @property
    def parts(self) -> tuple[Mask, ...]:
        return self.conjuncts

    @property
    def atoms(self) -> tuple[Mask, ...]:
        return tuple(atom for part in self.conjuncts for atom in part.atoms)

    @property
    def relative(self) -> bool:
        return all(part.relative for part in self.conjuncts)

    @property
    def rows(self) -> int:
        return _rows(self.conjuncts)

    def allows(self, queries: Tensor, keys: Tensor) -> Tensor:
        return reduce(and_, (part.allows(queries, keys) for part in self.conjuncts), everything(queries, keys))


@dataclass(frozen=True)
class Either(Mask):
    """Allowed by at least one of the two."""

    disjuncts: tuple[Mask, Mask]

    @property
    def atoms(self) -> tuple[Mask, ...]:
        return tuple(atom for part in self.disjuncts for atom in part.atoms)

    @property
    def relative(self) -> bool:
        return all(part.relative for part in self.disjuncts)

    @property
    def rows(self) -> int:
        return _rows(self.disjuncts)

    def allows(self, queries: Tensor, keys: Tensor) -> Tensor:
        return reduce(or_, (part.allows(queries, keys) for part in self.disjuncts))
