"""Who may attend to whom, as values that combine with `&` and `|`; one file a mask.

A mask answers for slots of a row, never for tensors of a certain shape: `allows(queries, keys)` takes the slots of the
queries [B or 1, T] and of the keys [S] and returns a boolean [B or 1, T, S], True where the query may see the key.
"""

from dataclasses import dataclass
from functools import reduce
from operator import and_, or_

from torch import Tensor


def everything(queries: Tensor, keys: Tensor) -> Tensor:
    """Each query sees each key."""
    return (keys == keys).expand(*queries.shape, -1)


class Mask:
    """The base of every mask. `relative`: it depends on query - key alone, so it says the same inside a document."""

    relative = False

    def allows(self, queries: Tensor, keys: Tensor) -> Tensor:
        raise NotImplementedError

    def __and__(self, other: "Mask") -> "Both":
        return Both((*self.parts, *other.parts))

    def __or__(self, other: "Mask") -> "Either":
        return Either((self, other))

    @property
    def parts(self) -> tuple["Mask", ...]:
        """The masks this one is the conjunction of; a kernel looks here for those it knows."""
        return (self,)


@dataclass(frozen=True)
class Both(Mask):
    """Allowed by every part; with no part, everything is."""

    conjuncts: tuple[Mask, ...]

    @property
    def parts(self) -> tuple[Mask, ...]:
        return self.conjuncts

    @property
    def relative(self) -> bool:
        return all(part.relative for part in self.conjuncts)

    def allows(self, queries: Tensor, keys: Tensor) -> Tensor:
        return reduce(and_, (part.allows(queries, keys) for part in self.conjuncts), everything(queries, keys))


@dataclass(frozen=True)
class Either(Mask):
    """Allowed by at least one of the two."""

    disjuncts: tuple[Mask, Mask]

    @property
    def relative(self) -> bool:
        return all(part.relative for part in self.disjuncts)

    def allows(self, queries: Tensor, keys: Tensor) -> Tensor:
        return reduce(or_, (part.allows(queries, keys) for part in self.disjuncts))
