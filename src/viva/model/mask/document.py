"""Packing: documents that share a row do not see each other."""

from dataclasses import dataclass

import torch
from torch import Tensor

from viva.model.mask import Mask


@dataclass(frozen=True)
class Document(Mask):
    """Same document; `lengths` are those of the documents of each row, in order, filling it."""

    lengths: tuple[tuple[int, ...], ...]

    def allows(self, queries: Tensor, keys: Tensor) -> Tensor:
        rows = [torch.arange(len(row)).repeat_interleave(torch.tensor(row)) for row in self.lengths]
        document = torch.stack(rows).to(keys.device)  # [B, S]
        of_query = document.gather(1, queries.expand(len(rows), -1))
        return of_query[..., None] == document[:, None, keys]
