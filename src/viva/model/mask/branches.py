"""A stem that several texts go on from, each of them a branch: what is read once need not be read with each again."""

from dataclasses import dataclass

from torch import Tensor

from viva.model.mask import Mask
from viva.model.mask.causal import Causal


@dataclass(frozen=True, eq=False)
class Branches(Mask):
    """key <= query, and the key is in the stem or in the query's branch; `numbers` [B, T] says of each slot in which
    branch it is, from 1, or 0 in the stem.
    """

    numbers: Tensor

    @property
    def rows(self) -> int:
        return len(self.numbers)

    def allows(self, queries: Tensor, keys: Tensor) -> Tensor:
        numbers = self.numbers.to(keys.device)
        of_query = numbers.gather(1, queries.expand(len(numbers), -1))[..., None]
        of_key = numbers[:, None, keys]
        return Causal().allows(queries, keys) & ((of_key == 0) | (of_key == of_query))
