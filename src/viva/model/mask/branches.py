"""A stem that several texts go on from, each of them a branch: what is read once need not be read with each again."""

from dataclasses import dataclass

from torch import Tensor

from viva.base.errors import Refusal
from viva.model.mask import Mask, require_covered, told
from viva.model.mask.causal import Causal


@dataclass(frozen=True, eq=False)
class Branches(Mask):
    """key <= query, and the key is in the stem or in the query's branch; `numbers` [B, T] says of each slot in which
    branch it is, from 1, or 0 in the stem.
    """

    numbers: Tensor

    def __post_init__(self):
        if not isinstance(self.numbers, Tensor) or self.numbers.ndim != 2:
            fix = "give a tensor that numbers the branch of each slot of each row"
            raise Refusal("the branches of a mask must be numbers [B, T]", told(self.numbers), fix)

    @property
    def rows(self) -> int:
        return len(self.numbers)

    def allows(self, queries: Tensor, keys: Tensor) -> Tensor:
        T, rows = self.numbers.shape[1], max(self.rows, len(queries))
        require_covered(T, T, self, queries, keys)
        numbers = self.numbers.to(keys.device).expand(rows, T)
        of_query = numbers.gather(1, queries.expand(rows, -1))[..., None]
        of_key = numbers[:, None, keys]
        return Causal().allows(queries, keys) & ((of_key == 0) | (of_key == of_query))
