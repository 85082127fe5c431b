"""Padding: keys behind the end of a row are no part of it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from viva.model.mask import Mask


@dataclass(frozen=True)
class Padding(Mask):
    """key < length; `lengths` are those of the rows, which are padded on the right."""

    lengths: tuple[int, ...]

    @property
    def rows(self) -> int:
        return len(self.lengths)

    def allows(self, queries: Tensor, keys: Tensor) -> Tensor:
        lengths = torch.tensor(self.lengths, device=keys.device)
        return (keys < lengths[:, None])[:, None].expand(-1, queries.shape[-1], -1)
