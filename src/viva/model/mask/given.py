"""Any mask at all, as a boolean tensor."""

from dataclasses import dataclass

import torch
from torch import Tensor

from viva.base.errors import Refusal
from viva.model.mask import Mask, require_covered, told


@dataclass(frozen=True, eq=False)
class Given(Mask):
    """`table` [T, S] for every row alike, or [B, T, S], or [B, 1, T, S] as transformers has it: True where slot t may
    see slot s, the same for every head. One that is larger than a text is of its first slots, as for a cache that
    fills.
    """

    table: Tensor

    def __post_init__(self):
        table, must = self.table, "a mask given as a tensor must be a boolean [T, S], [B, T, S] or [B, 1, T, S]"
        if not isinstance(table, Tensor) or table.dtype != torch.bool:
            fix = "compare a tensor with something: table > 0, or table == 0 of a mask that is added to scores"
            raise Refusal(must, told(table), fix)
        if table.ndim not in (2, 3, 4) or (table.ndim == 4 and table.shape[1] != 1):
            raise Refusal(must, told(table), "give one for each row, the same for all heads")

    @property
    def rows(self) -> int:
        return 1 if self.table.ndim == 2 else len(self.table)

    def allows(self, queries: Tensor, keys: Tensor) -> Tensor:
        T, S = self.table.shape[-2:]
        require_covered(T, S, self, queries, keys)
        rows = max(self.rows, len(queries))
        table = self.table.to(keys.device).reshape(self.rows, T, S).expand(rows, T, S)
        return table.gather(1, queries.expand(rows, -1)[..., None].expand(-1, -1, S))[..., keys]
