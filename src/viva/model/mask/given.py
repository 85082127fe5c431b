"""Any mask at all, as a boolean tensor."""

from dataclasses import dataclass

import torch
from torch import Tensor

from viva.base.errors import Refusal
from viva.model.mask import Mask


@dataclass(frozen=True, eq=False)
class Given(Mask):
    """`table` [T, S] for every row alike, or [B, T, S]: True where slot t may see slot s. One that is larger
    than a text is of its first slots, as for a cache that fills.
    """

    table: Tensor

    def __post_init__(self):
        if self.table.dtype != torch.bool or self.table.ndim not in (2, 3):
            found = f"{str(self.table.dtype).removeprefix('torch.')} of shape {list(self.table.shape)}"
            fix = "compare it with something, for example table > 0"
            raise Refusal("a mask given as a tensor must be a boolean [T, S] or [B, T, S]", found, fix)

    @property
    def rows(self) -> int:
        return 1 if self.table.ndim == 2 else len(self.table)

    def allows(self, queries: Tensor, keys: Tensor) -> Tensor:
        table = self.table.to(keys.device)
        table = table[None] if table.ndim == 2 else table
        B, T, S = table.shape
        ends = int(queries.max()) + 1, int(keys.max()) + 1
        if ends[0] > T or ends[1] > S or (queries.shape[0] not in (1, B) and B != 1):
            must = f"a mask of shape [{B}, {T}, {S}] must cover the slots that attend"
            found = f"{queries.shape[0]} rows of {ends[0]} queries and {ends[1]} keys"
            raise Refusal(must, found, "give a mask for all of them")
        rows = max(B, queries.shape[0])
        seen = table.expand(rows, T, S).gather(1, queries.expand(rows, -1)[..., None].expand(-1, -1, S))
        return seen[..., keys]
