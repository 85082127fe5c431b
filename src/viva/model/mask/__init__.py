"""Who may attend to whom, as values that combine with `&`; one file a mask.

A mask answers for slots of a row, never for tensors of a certain shape: `allows(queries, keys)` takes the slots of the
queries [B or 1, T] and of the keys [S] and returns a boolean [B or 1, T, S], True where the query may see the key.
"""

from dataclasses import dataclass
from functools import reduce
from operator import and_

from torch import Tensor


class Mask:
    """The base of every mask."""

    def allows(self, queries: Tensor, keys: Tensor) -> Tensor:
        raise NotImplementedError

    def __and__(self, other: "Mask") -> "Both":
        return Both((*self.parts, *other.parts))

    @property
    def parts(self) -> tuple["Mask", ...]:
        """The masks this one is the conjunction of; a kernel looks here for those it knows."""
        return (self,)

    def without(self, kind: type["Mask"]) -> "Mask":
        """The conjunction of the parts that are not of `kind`; at least one must be left."""
        return reduce(and_, (part for part in self.parts if not isinstance(part, kind)))


@dataclass(frozen=True)
class Both(Mask):
    """Allowed by every part."""

    conjuncts: tuple[Mask, ...]

    @property
    def parts(self) -> tuple[Mask, ...]:
        return self.conjuncts

    def allows(self, queries: Tensor, keys: Tensor) -> Tensor:
        return reduce(and_, (part.allows(queries, keys) for part in self.conjuncts))
