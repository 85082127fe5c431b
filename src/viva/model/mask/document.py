"""Packing: documents that share a row do not see each other."""

from dataclasses import dataclass

import torch
from torch import Tensor

from viva.model.mask import Mask

Lengths = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Document(Mask):
    """Same document; `lengths` are those of the documents of each row, in order, filling it.

    `others` are those of the rows that the keys come from, where that is another sequence: the n-th document of the one
    sees the n-th of the other.
    """

    lengths: Lengths
    others: Lengths | None = None

    @property
    def rows(self) -> int:
        return len(self.lengths)

    def allows(self, queries: Tensor, keys: Tensor) -> Tensor:
        of_query = _numbers(self.lengths, keys.device).gather(1, queries.expand(len(self.lengths), -1))
        of_key = _numbers(self.others or self.lengths, keys.device)
        return of_query[..., None] == of_key[:, None, keys]


def _numbers(lengths: Lengths, device: torch.device) -> Tensor:
    """[B, T]: the number of each token's document in its row."""
    rows = [torch.arange(len(row)).repeat_interleave(torch.tensor(row)) for row in lengths]
    return torch.stack(rows).to(device)
